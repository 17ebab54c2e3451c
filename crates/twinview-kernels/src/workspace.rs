//! Buffers that outlive a step.
//!
//! A training step needs the same tens of megabytes every time. Asking the system for them afresh
//! costs a page fault for every 4 KiB, milliseconds a step, so a dropped buffer waits here for its next use.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::tile::{LANES, Line};

/// Most buffers kept for reuse, more than a step of a ResNet-18 needs; others are given back to the system.
const KEPT: usize = 128;

/// An element type with a store of idle buffers.
pub(crate) trait Pooled: Copy + Send + 'static {
    const ZERO: Self;
    fn idle() -> &'static Mutex<Vec<Vec<Self>>>;
}

macro_rules! pooled {
    ($($element:ty: $zero:expr),*) => {
        $(impl Pooled for $element {
            const ZERO: Self = $zero;
            fn idle() -> &'static Mutex<Vec<Vec<Self>>> {
                static IDLE: Mutex<Vec<Vec<$element>>> = Mutex::new(Vec::new());
                &IDLE
            }
        })*
    };
}

pooled!(Line: Line::ZERO, f32: 0.0, f64: 0.0);

/// `len` lines of any content, of a scratch that grows as it must.
pub(crate) fn lines(scratch: &mut Vec<Line>, len: usize) -> &mut [Line] {
    if scratch.len() < len {
        scratch.resize(len, Line::ZERO);
    }
    &mut scratch[..len]
}

/// `len` zeros, written by all threads.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    let mut lines = (0..len.div_ceil(LANES))
        .into_par_iter()
        .with_min_len(1024)
        .map(|_| [0.0; LANES])
        .collect::<Vec<_>>()
        .into_flattened();
    lines.truncate(len);
    lines
}

/// Most vectors of one length that wait for a gradient.
const KEPT_ALIKE: usize = 4;

/// `len` values of any content for a gradient that writes them all.
pub(crate) fn for_gradient(len: usize) -> Vec<f32> {
    let mut idle = f32::idle().lock().unwrap_or_else(PoisonError::into_inner);
    let fit = idle.iter().position(|values| values.len() == len).map(|i| idle.swap_remove(i));
    drop(idle);
    // In tests what is not written shows.
    fit.unwrap_or_else(|| if cfg!(test) { vec![f32::NAN; len] } else { zeros(len) })
}

/// Keeps the memory of a gradient that is done with for [another](for_gradient).
pub(crate) fn keep(gradient: Vec<f32>) {
    let mut idle = f32::idle().lock().unwrap_or_else(PoisonError::into_inner);
    if idle.iter().filter(|values| values.len() == gradient.len()).count() < KEPT_ALIKE {
        put(&mut idle, gradient);
    }
}

fn put<T>(idle: &mut Vec<Vec<T>>, data: Vec<T>) {
    if idle.len() == KEPT {
        // The oldest makes room, so that sizes no longer in use do not stay for ever.
        idle.remove(0);
    }
    idle.push(data);
}

/// A recycled buffer. What it holds at first is left over from an earlier use.
#[derive(Debug)]
pub(crate) struct Buffer<T: Pooled> {
    /// As long as at its first use. A later, shorter one takes the beginning, and the next need not fill it up again.
    data: Vec<T>,
    len: usize,
}

impl<T: Pooled> Buffer<T> {
    /// A buffer of `len` elements of unspecified (but initialised) content.
    pub(crate) fn new(len: usize) -> Self {
        let mut idle = T::idle().lock().unwrap_or_else(PoisonError::into_inner);
        // The smallest that fits; a far larger one would be missed by its own next user.
        let fit = (0..idle.len())
            .filter(|&i| (len..=len.saturating_mul(2)).contains(&idle[i].len()))
            .min_by_key(|&i| idle[i].len());
        let recycled = fit.map(|i| idle.swap_remove(i));
        drop(idle);
        Self { data: recycled.unwrap_or_else(|| vec![T::ZERO; len]), len }
    }
}

impl<T: Pooled> Drop for Buffer<T> {
    fn drop(&mut self) {
        let data = std::mem::take(&mut self.data);
        let mut idle = T::idle().lock().unwrap_or_else(PoisonError::into_inner);
        put(&mut idle, data);
    }
}

impl<T: Pooled> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.data[..self.len]
    }
}

impl<T: Pooled> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[..self.len]
    }
}
