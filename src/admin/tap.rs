//! `/tap`: what goes through the pipes of workers, for operators.

use bytes::Bytes;
use http::StatusCode;
use percent_encoding::percent_decode_str;

use super::tap_stream::TapStream;
use super::{Admin, By, EVENTS, Operator, PageBody, PageResponse, denied, problem, reply};
use crate::observe::metrics::Denial;
use crate::observe::tap::{Tap, TapWish};

/// Most taps at one time.
const TAPS_MOST: usize = 4;

impl<O: Operator> Admin<O> {
    /// Begins a tap.
    pub(super) fn tap(&self, query: Option<&str>, by: &By<'_>) -> PageResponse {
        let Some((wish, contents)) = read(query.unwrap_or_default()) else {
            let detail = "/tap takes `pool`, `worker`, `route`, `failed`, and `contents` or `masked`, \
                          as in `/tap?pool=fib&worker=3`";
            return problem(StatusCode::BAD_REQUEST, detail);
        };
        let may_read = by.who.is_operator();
        if contents == Some(true) && !may_read {
            return denied(Denial::NoToken);
        }
        let contents = contents.unwrap_or(may_read);
        let wish = TapWish { contents, ..wish };
        if self.operator.taps() >= TAPS_MOST {
            let detail = "as many taps are open as may be: close one that is not needed";
            return problem(StatusCode::SERVICE_UNAVAILABLE, detail);
        }
        let (tap, reader) = Tap::new(wish);
        if !self.operator.attach_tap(&tap) {
            return problem(StatusCode::NOT_FOUND, "there is no such pool; `/status.json` has all");
        }
        if contents {
            let pool = tap.wish().pool.clone().unwrap_or_default();
            by.log("an operator reads what workers are asked and answer", &pool, "");
        }
        let mut reply = reply(StatusCode::OK, EVENTS, Bytes::new());
        *reply.body_mut() = PageBody::Tap(TapStream::new(reader));
        reply
    }
}

/// Reads the query of `/tap`: what is tapped, and whether contents are asked for, if it says so.
fn read(query: &str) -> Option<(TapWish, Option<bool>)> {
    let (mut wish, mut contents) = (TapWish::default(), None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = value.replace('+', " ");
        let value = percent_decode_str(&value).decode_utf8().ok()?.into_owned();
        match name {
            "pool" => wish.pool = Some(value),
            "worker" => wish.worker = Some(value.parse().ok()?),
            "route" => wish.route = Some(value),
            "failed" => wish.failed = true,
            "contents" => contents = Some(true),
            "masked" => contents = Some(false),
            _ => return None,
        }
    }
    Some((wish, contents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_is_tapped() {
        let all = TapWish::default();
        assert_eq!(read(""), Some((all.clone(), None)));
        let some = |text: &str| Some(text.to_owned());
        let wish = TapWish { pool: some("fib"), worker: Some(3), failed: true, ..all.clone() };
        assert_eq!(read("pool=fib&worker=3&failed"), Some((wish, None)));
        let route = TapWish { route: some("GET /a b?c={c}"), ..all.clone() };
        assert_eq!(read("route=GET+%2Fa%20b%3Fc%3D%7Bc%7D"), Some((route, None)));
        assert_eq!(read("masked"), Some((all.clone(), Some(false))));
        assert_eq!(read("contents"), Some((all, Some(true))));
        for wrong in ["worker=x", "pol=fib", "worker="] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
