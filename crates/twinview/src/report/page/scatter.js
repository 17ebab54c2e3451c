// The map of all samples, in two or three dimensions. Points are written into the pixels of a canvas by hand: this
// needs no graphics card for ten thousand of them.

class Scatter {
  constructor(samples) {
    Object.assign(this, { samples, map: samples.maps[0], dimensions: 2, paintBy: "class", hidden: new Set(), hovered: null, marked: null });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.element = h("div", { class: "plot", tabindex: "0", role: "application", "aria-roledescription": "map",
      "aria-label": `Map of ${plural(samples.count, "image")}. Arrow keys move it, plus and minus zoom, 0 shows all, Enter selects the image in the middle, N and P the next and the previous one of its class.` }, this.canvas);
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.sprites = new Map();
    this.x = new Float32Array(samples.count);
    this.y = new Float32Array(samples.count);
    this.depth = new Float32Array(samples.count);
    this.order = new Uint32Array(samples.count);
    this.frames = 0;
    this.home();
    new ResizeObserver(() => this.resize()).observe(this.element);
    darkness.addEventListener("change", () => { this.sprites.clear(); this.redraw(); });
    this.listen();
  }

  home() {
    Object.assign(this, { zoom: 1, panX: 0, panY: 0, yaw: 0.6, pitch: 0.35 });
    this.redraw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    this.width = Math.round(width * this.ratio);
    this.height = Math.round(height * this.ratio);
    Object.assign(this.canvas, { width: this.width, height: this.height });
    this.pixels = this.context.createImageData(this.width, this.height);
    this.words = new Uint32Array(this.pixels.data.buffer);
    this.redraw();
  }

  redraw() {
    if (this.waiting || !this.canvas) return;
    this.waiting = true;
    requestAnimationFrame(() => { this.waiting = false; this.draw(); });
  }

  /** Where every sample lies on the canvas. */
  project() {
    const { samples, map, x, y, depth, zoom, ratio } = this;
    const side = Math.min(this.width, this.height) * 0.94 * zoom, unit = side / 65535;
    const left = this.width / 2 + this.panX * ratio, top = this.height / 2 + this.panY * ratio;
    if (this.dimensions === 2) {
      // Wide canvases are used to their width.
      const stretch = Math.max(1, Math.min(1.6, this.width / this.height));
      for (let i = 0; i < samples.count; i++) {
        x[i] = left + (map.two[2 * i] - 32767.5) * unit * stretch;
        y[i] = top - (map.two[2 * i + 1] - 32767.5) * unit;
        depth[i] = 0;
      }
      return;
    }
    const [sinY, cosY, sinP, cosP] = [Math.sin(this.yaw), Math.cos(this.yaw), Math.sin(this.pitch), Math.cos(this.pitch)];
    for (let i = 0; i < samples.count; i++) {
      const [a, b, c] = [map.three[3 * i] - 32767.5, map.three[3 * i + 1] - 32767.5, map.three[3 * i + 2] - 32767.5];
      const across = a * cosY + c * sinY, away = c * cosY - a * sinY;
      const near = away * cosP - b * sinP;
      const perspective = 1 / (1 + near / 200000);
      x[i] = left + across * unit * perspective;
      y[i] = top - (b * cosP + away * sinP) * unit * perspective;
      depth[i] = near / 45000;
    }
  }

  /** The class whose colour and shape a sample has; -1 for one that is drawn faintly, -2 for a mistake, null for one that is not shown. */
  style(index) {
    const { samples } = this;
    if (this.hidden.has(samples.labels[index])) return null;
    if (this.paintBy === "prediction") return samples.predictions[0].labels[index];
    const isUnlabelled = samples.isUnlabelled(samples.labels[index]);
    if (this.paintBy === "errors") return isUnlabelled || samples.predictions[0].labels[index] === samples.labels[index] ? -1 : -2;
    return isUnlabelled ? -1 : samples.labels[index];
  }

  /** Coverage of a marker, pixel by pixel. */
  sprite(style, radius) {
    const key = style * 64 + radius;
    let sprite = this.sprites.get(key);
    if (!sprite) {
      const size = 2 * Math.ceil(radius * 1.2) + 3;
      const canvas = new OffscreenCanvas(size, size);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.translate(size / 2, size / 2);
      const paint = style === -1 ? themed("--faint") : style === -2 ? themed("--wrong") : colour(style);
      drawMarker(context, style === -1 ? 0 : style === -2 ? 8 : style, radius, paint);
      const data = context.getImageData(0, 0, size, size).data;
      context.fillStyle = paint;
      context.fillRect(-size, -size, 2 * size, 2 * size);
      const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
      sprite = { size, red, green, blue, cover: Uint8Array.from({ length: size * size }, (_, i) => data[4 * i + 3]) };
      this.sprites.set(key, sprite);
    }
    return sprite;
  }

  draw() {
    if (!this.words) return;
    this.project();
    const { x, y, depth, words, width, height, samples, order } = this;
    const [r, g, b] = (themed("--plot").match(/\w\w/g) ?? ["ff", "ff", "ff"]).map((part) => parseInt(part, 16));
    words.fill(0xff000000 | (b << 16) | (g << 8) | r);
    for (let i = 0; i < samples.count; i++) order[i] = i;
    if (this.dimensions === 3) order.sort((one, other) => depth[other] - depth[one]);
    const radius = Math.min(9, 2.3 * this.zoom ** 0.4) * this.ratio * Math.min(1.6, Math.max(1, Math.sqrt(3000 / samples.count)));
    for (const isFaint of [true, false]) {
      for (let n = 0; n < samples.count; n++) {
        const i = order[n];
        if (x[i] < -20 || y[i] < -20 || x[i] > width + 20 || y[i] > height + 20) continue;
        const style = this.style(i);
        if (style === null || (style === -1) !== isFaint) continue;
        const near = this.dimensions === 3 ? Math.max(0.55, 1 - depth[i] * 0.4) : 1;
        const alpha = (this.marked && !this.marked.has(i) ? 0.16 : 0.85) * (style === -1 ? 0.5 : 1) * Math.min(1, near);
        this.stamp(this.sprite(style, Math.max(1, Math.round(radius * near))), Math.round(x[i]), Math.round(y[i]), alpha);
      }
    }
    this.context.putImageData(this.pixels, 0, 0);
    this.overlay();
    this.element.dataset.frames = ++this.frames;
  }

  stamp({ size, red, green, blue, cover }, x, y, alpha) {
    const { words, width, height } = this;
    const left = x - (size >> 1), top = y - (size >> 1);
    for (let row = 0; row < size; row++) {
      const line = top + row;
      if (line < 0 || line >= height) continue;
      for (let column = 0; column < size; column++) {
        const part = cover[row * size + column], at = left + column;
        if (!part || at < 0 || at >= width) continue;
        const under = words[line * width + at], share = (part * alpha) / 255;
        const [ur, ug, ub] = [under & 255, (under >> 8) & 255, (under >> 16) & 255];
        words[line * width + at] = 0xff000000 | ((ub + (blue - ub) * share) << 16) | ((ug + (green - ug) * share) << 8) | (ur + (red - ur) * share);
      }
    }
  }

  /** Class names, the selected image and its neighbours. */
  overlay() {
    const { context, x, y, samples, ratio } = this;
    const ink = themed("--ink"), paper = themed("--plot");
    context.lineJoin = "round";
    const ring = (i, radius, line) => {
      context.beginPath();
      context.arc(x[i], y[i], radius * ratio, 0, 7);
      context.lineWidth = line * ratio;
      context.strokeStyle = ink;
      context.stroke();
    };
    if (selection.index !== null) {
      const i = selection.index, { k, neighbours } = this.map;
      context.strokeStyle = ink;
      context.lineWidth = ratio;
      for (const j of neighbours.subarray(i * k, (i + 1) * k)) {
        context.beginPath();
        context.moveTo(x[i], y[i]);
        context.lineTo(x[j], y[j]);
        context.stroke();
        ring(j, 5, 1.5);
      }
      ring(i, 8, 3);
    }
    if (this.hovered !== null) ring(this.hovered, 7, 2);
    if (this.dimensions === 2 && this.zoom < 6) {
      this.centres ??= new Map();
      let centres = this.centres.get(this.map);
      if (!centres) this.centres.set(this.map, (centres = densest(this.map.two, samples)));
      context.font = `600 ${12.5 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      const placed = [];
      for (const [label, i] of centres) {
        if (this.hidden.has(label) || samples.isUnlabelled(label)) continue;
        let at = y[i];
        while (placed.some((one) => Math.abs(one.x - x[i]) < 80 * ratio && Math.abs(one.y - at) < 16 * ratio)) at += 17 * ratio;
        placed.push({ x: x[i], y: at });
        context.lineWidth = 4 * ratio;
        context.strokeStyle = paper;
        context.strokeText(samples.className(label), x[i], at);
        context.fillStyle = ink;
        context.fillText(samples.className(label), x[i], at);
      }
    }
  }

  /** The sample nearest to a place of the window, within a finger's or a pointer's reach. */
  nearest(clientX, clientY, reach) {
    const box = this.canvas.getBoundingClientRect();
    const [px, py] = [(clientX - box.left) * this.ratio, (clientY - box.top) * this.ratio];
    let best = null, least = (reach * this.ratio) ** 2;
    for (let i = 0; i < this.samples.count; i++) {
      const distance = (this.x[i] - px) ** 2 + (this.y[i] - py) ** 2;
      if (distance < least && this.style(i) !== null) [best, least] = [i, distance];
    }
    return best;
  }

  zoomAt(factor, clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const [dx, dy] = [clientX - box.left - box.width / 2 - this.panX, clientY - box.top - box.height / 2 - this.panY];
    const zoom = Math.max(0.5, Math.min(60, this.zoom * factor));
    const ratio = zoom / this.zoom - 1;
    this.panX -= dx * ratio;
    this.panY -= dy * ratio;
    this.zoom = zoom;
    this.redraw();
  }

  zoomBy(factor) {
    const box = this.canvas.getBoundingClientRect();
    this.zoomAt(factor, box.left + box.width / 2, box.top + box.height / 2);
  }

  /** Brings a sample into sight. */
  reveal(index) {
    this.redraw();
    if (!this.words) return;
    this.project();
    const [px, py] = [this.x[index], this.y[index]];
    if (px < 0 || py < 0 || px > this.width || py > this.height) {
      this.panX -= (px - this.width / 2) / this.ratio;
      this.panY -= (py - this.height / 2) / this.ratio;
    }
  }

  listen() {
    const { element, samples } = this;
    const touches = new Map();
    let moved = 0, button = 0;
    element.addEventListener("pointerdown", (event) => {
      touches.set(event.pointerId, event);
      element.setPointerCapture(event.pointerId);
      element.focus({ preventScroll: true });
      [moved, button] = [0, event.button || (event.shiftKey ? 2 : 0)];
    });
    element.addEventListener("pointermove", (event) => {
      const before = touches.get(event.pointerId);
      if (!before) return this.hover(event);
      touches.set(event.pointerId, event);
      const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved > 4) hideTip();
      if (touches.size === 2) {
        const other = [...touches.values()].find((one) => one.pointerId !== event.pointerId);
        const gap = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
        this.zoomAt(gap(event) / Math.max(1, gap(before)), (event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2);
        return;
      }
      if (this.dimensions === 3 && button === 0) {
        this.yaw += dx * 0.008;
        this.pitch = Math.max(-1.5, Math.min(1.5, this.pitch + dy * 0.008));
      } else {
        this.panX += dx;
        this.panY += dy;
      }
      this.redraw();
    });
    const release = (event) => {
      const was = touches.delete(event.pointerId);
      if (was && event.type === "pointerup" && moved <= 4) {
        const found = this.nearest(event.clientX, event.clientY, event.pointerType === "touch" ? 24 : 12);
        if (found !== null) selection.set(found, "map");
      }
    };
    element.addEventListener("pointerup", release);
    element.addEventListener("pointercancel", release);
    element.addEventListener("contextmenu", (event) => event.preventDefault());
    element.addEventListener("pointerleave", () => { this.hovered = null; hideTip(); this.redraw(); });
    element.addEventListener("dblclick", () => this.home());
    element.addEventListener("wheel", (event) => {
      // A page that scrolls must not be caught: the wheel zooms once the map was clicked, or with Ctrl.
      if (document.activeElement !== element && !event.ctrlKey) return;
      event.preventDefault();
      this.zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX, event.clientY);
    }, { passive: false });
    element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const turn = (dx, dy) => {
        if (this.dimensions === 3 && !event.shiftKey) {
          this.yaw += dx * 0.1;
          this.pitch = Math.max(-1.5, Math.min(1.5, this.pitch + dy * 0.1));
        } else {
          this.panX -= dx * 40;
          this.panY -= dy * 40;
        }
        this.redraw();
      };
      const actions = {
        ArrowLeft: () => turn(-1, 0), ArrowRight: () => turn(1, 0), ArrowUp: () => turn(0, -1), ArrowDown: () => turn(0, 1),
        "+": () => this.zoomBy(1.4), "=": () => this.zoomBy(1.4), "-": () => this.zoomBy(1 / 1.4), "0": () => this.home(),
        Enter: () => {
          const box = this.canvas.getBoundingClientRect();
          const found = this.nearest(box.left + box.width / 2, box.top + box.height / 2, Infinity);
          if (found !== null) selection.set(found, "map");
        },
        n: () => this.walk(1), p: () => this.walk(-1),
        Escape: () => selection.set(null, "map"),
      };
      if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
    });
  }

  /** The next or the previous sample of the class of the selected one. */
  walk(by) {
    const { labels, count } = this.samples;
    const from = selection.index ?? (by > 0 ? -1 : count);
    const wanted = labels[selection.index ?? 0];
    for (let at = from + by; at >= 0 && at < count; at += by) {
      if (labels[at] === wanted) return selection.set(at, "keys");
    }
  }

  hover(event) {
    if (event.pointerType === "touch") return;
    const found = this.nearest(event.clientX, event.clientY, 12);
    this.element.classList.toggle("over", found !== null);
    if (found !== this.hovered) { this.hovered = found; this.redraw(); }
    if (found === null) return hideTip();
    showTip(event.clientX, event.clientY, this.samples.atlas.picture(found, 112), h("strong", {}, this.samples.className(this.samples.labels[found])),
      h("div", { class: "faint" }, this.samples.predictions.length ? this.samples.words(found).split(", ").slice(1).join(", ") : null, ` image ${found}`));
  }
}

/** For each class the sample where it is densest: where its name can stand. */
function densest(coordinates, samples) {
  const SIDE = 24, counts = new Map();
  for (let i = 0; i < samples.count; i++) {
    const key = samples.labels[i] * 4096 + Math.floor(coordinates[2 * i] * SIDE / 65536) * SIDE + Math.floor(coordinates[2 * i + 1] * SIDE / 65536);
    const cell = counts.get(key) ?? { label: samples.labels[i], count: 0, first: i };
    cell.count++;
    counts.set(key, cell);
  }
  const best = new Map();
  for (const cell of counts.values()) if (cell.count > (best.get(cell.label)?.count ?? 0)) best.set(cell.label, cell);
  return [...best].map(([label, cell]) => [label, cell.first]);
}
