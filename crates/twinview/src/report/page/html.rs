//! The file.

use sha2::{Digest, Sha256};

use super::data::Page;
use super::encode::base64;

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// The script, by concern; the later use the earlier.
const SCRIPTS: [&str; 8] = [
    include_str!("base.js"),
    include_str!("curves.js"),
    include_str!("images.js"),
    include_str!("scatter.js"),
    include_str!("neighbours.js"),
    include_str!("matrix.js"),
    include_str!("tables.js"),
    include_str!("main.js"),
];

impl Page {
    /// The page as one HTML file.
    pub fn to_html(&self) -> String {
        self.assemble("", "img-src data: blob:")
    }

    /// The page of a run under way, which asks `address` for [`to_json`](Self::to_json) every two seconds.
    pub fn to_live_html(&self, address: &str) -> String {
        self.assemble(&format!(" data-live=\"{}\"", escaped(address)), "img-src 'self' data: blob:; connect-src 'self'")
    }

    /// What the page shows, as JSON that can stand in HTML: names and settings may hold anything.
    pub fn to_json(&self) -> String {
        // Every field is text, a number or a list of them: this cannot fail.
        serde_json::to_string(self).unwrap_or_default().replace('<', "\\u003c")
    }

    fn assemble(&self, live: &str, policy: &str) -> String {
        let script = format!("(() => {{\n\"use strict\";\n{}}})();\n", SCRIPTS.join("\n"));
        // Only this very script and style are allowed: text that slipped into the markup could do nothing.
        let policy = format!(
            "default-src 'none'; base-uri 'none'; form-action 'none'; style-src {}; script-src {}; {policy}",
            fingerprint(STYLE),
            fingerprint(&script)
        );
        let parts = [
            ("policy", policy.as_str()),
            ("title", &escaped(&self.title)),
            ("style", STYLE),
            ("live", live),
            ("data", &self.to_json()),
            ("script", &script),
        ];
        // From the left, so that no part is looked through for the names of others.
        let mut html = String::new();
        let mut rest = FRAME;
        for (name, text) in parts {
            let Some((before, after)) = rest.split_once(&format!("{{{{{name}}}}}")) else { continue };
            html.push_str(before);
            html.push_str(text);
            rest = after;
        }
        html.push_str(rest);
        html
    }
}

/// What a page that [`Page::to_html`] made shows, as JSON.
pub fn embedded(html: &str) -> Option<&str> {
    let (_, rest) = html.split_once("<script type=\"application/json\" id=\"data\">")?;
    Some(rest.split_once("</script>")?.0)
}

/// The source of a Content-Security-Policy that allows exactly `text`.
fn fingerprint(text: &str) -> String {
    format!("'sha256-{}'", base64(&Sha256::digest(text.as_bytes())))
}

/// `text` as it can stand in an element or between quotes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
