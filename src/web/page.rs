//! GET /: a page to upload from.

/// Plain HTML, nothing fetched from elsewhere.
pub(super) const PAGE: &str = include_str!("page.html");
