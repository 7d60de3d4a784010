//! How a caller would like a request to be treated: `Prefer` (RFC 7240).
//!
//! Pure.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName};

const PREFER: HeaderName = HeaderName::from_static("prefer");
/// Says which preference was heeded.
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The longest that a request waits for a job.
const WAIT_MOST: Duration = Duration::from_mins(1);

/// How a caller would like a request to be treated (RFC 7240).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preference {
    /// A job, answered later, is as good.
    pub(super) respond_async: bool,
    /// How long the request may wait for a job, [`WAIT_MOST`] at most.
    pub(super) wait: Option<Duration>,
    /// Outcomes of items are told as they end.
    pub(super) is_unordered: bool,
}

impl Preference {
    /// Reads the fields `Prefer`. What is not known or cannot be read is not there.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut preference = Self::default();
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for one in values.flat_map(|value| value.split(',')) {
            let one = one.split(';').next().unwrap_or_default().trim();
            let (name, value) = one.split_once('=').unwrap_or((one, ""));
            let value = value.trim().trim_matches('"');
            if name.trim().eq_ignore_ascii_case("respond-async") {
                preference.respond_async = true;
            } else if one.eq_ignore_ascii_case("unordered") {
                preference.is_unordered = true;
            } else if name.trim().eq_ignore_ascii_case("wait")
                && let Ok(seconds) = value.parse()
            {
                // Of several, the first counts.
                let wait = Duration::from_secs(seconds).min(WAIT_MOST);
                preference.wait.get_or_insert(wait);
            }
        }
        preference
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn preferences_are_read_as_rfc_7240_has_them() {
        let read = |values: &[&'static str]| {
            let values = values.iter().map(|value| (PREFER, HeaderValue::from_static(value)));
            let Preference { respond_async, wait, .. } = Preference::of(&values.collect());
            (respond_async, wait.map(|wait| wait.as_secs()))
        };
        assert_eq!(read(&[]), (false, None));
        assert_eq!(read(&["respond-async"]), (true, None));
        assert_eq!(read(&["Respond-Async, wait=10"]), (true, Some(10)));
        assert_eq!(read(&["wait = \"5\"; foo", "respond-async; x=1"]), (true, Some(5)));
        assert_eq!(read(&["wait=9000"]), (false, Some(60)));
        assert_eq!(read(&["wait=3, wait=9"]), (false, Some(3)));
        assert_eq!(read(&["wait=soon, wait=-1, respond-asynchronous"]), (false, None));
    }
}
