//! One self-contained HTML file about a run: nothing in it is loaded from anywhere, and nothing is sent.
//!
//! [`Page`] is what it shows, as plain data; [`Page::to_html`] is the file. The script draws the data in the browser, so
//! that charts can be zoomed and points of a map touched.
//!
//! ```
//! use twinview::report::page::Page;
//!
//! // Names are data: they cannot become markup.
//! let page = Page { title: "</script><b>".to_owned(), verdict: "No gain was shown.".to_owned(), ..Page::default() };
//! let html = page.to_html();
//! assert!(html.starts_with("<!doctype html>") && !html.contains("</script><b>"));
//! ```

mod data;
mod encode;
mod html;
#[cfg(test)]
mod tests;

pub use data::{
    Atlas, ClassRow, ClassScores, LabelArm, LabelCurve, Map, Page, Predictions, Progress, Run, Samples, ScoreRow,
    ScoreTable, Series, Views,
};
pub use encode::base64;
pub use html::embedded;
