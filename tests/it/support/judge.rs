//! What judges whether people who do not see a page, or see little, can use it: axe-core.

use super::{Browser, skipped};

/// The text of axe-core.
#[derive(Debug)]
pub(crate) struct Judge(String);

impl Judge {
    /// Reads it from where `tests/programs/install.sh` puts it. Without it the test is skipped.
    pub(crate) fn find() -> Option<Self> {
        let ours = || format!("{}/target/programs", env!("CARGO_MANIFEST_DIR"));
        let place =
            std::env::var_os("TEST_PROGRAMS").map_or_else(ours, |it| it.display().to_string());
        let found = std::fs::read_to_string(format!("{place}/node_modules/axe-core/axe.min.js"));
        if found.is_err() {
            skipped("axe-core is not installed", "`tests/programs/install.sh` does it");
        }
        found.ok().map(Self)
    }

    /// Returns what it finds wrong with the page as it is now; `[]`: nothing.
    pub(crate) fn findings(&self, browser: &Browser) -> String {
        if browser.evaluate("typeof axe") == "undefined" {
            browser.evaluate(&self.0);
        }
        let run = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => \
             JSON.stringify(violations.map(({ id, nodes }) => \
             [id, ...nodes.map(({ html, failureSummary }) => html + failureSummary)]), null, 1))";
        browser.evaluate(run).as_str().expect("a text").to_owned()
    }
}
