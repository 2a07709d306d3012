//! What the pages have in common: a head that lets nothing run and nothing be fetched, the beginning of their style, and
//! templates that escape every value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::{AutoEscape, Environment, Value, context};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The templates of a page.
pub struct Pages(Environment<'static>);

impl Pages {
    /// Some templates by name, and what they add to the common style.
    pub fn new(templates: &[(&'static str, &'static str)], style: &str) -> Self {
        let mut pages = Environment::new();
        pages.set_auto_escape_callback(|_| AutoEscape::Html);
        for (name, text) in [("top", include_str!("top.html"))].iter().chain(templates) {
            pages.add_template(name, text).expect("the templates are tried by a test");
        }
        let style = [include_str!("base.css"), style].concat();
        pages.add_global("style_hash", STANDARD.encode(Sha256::digest(style.as_bytes())));
        pages.add_global("style", style);
        Pages(pages)
    }

    /// What every page begins with.
    pub fn top(&self, title: &str) -> Result<String, Failure> {
        self.render("top", context! { title })
    }

    /// One of the templates, with the values that it names.
    pub fn render(&self, name: &str, values: Value) -> Result<String, Failure> {
        let template = self.0.get_template(name).expect("only what was added is asked for");
        let written = template.render(values);
        written.map_err(|error| Failure::failed(format!("cannot make the page: {error:#}")))
    }
}
