//! What can be asked, for callers: the document and the page, where no route of the configuration
//! takes their paths, and the page for a browser that asked for nothing.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderName};
use http::request::Parts;
use tokio::sync::OnceCell;

use super::routes::RouteTable;
use super::words::FAILURE_WORDS;
use crate::base::Failure;
use crate::config::{Config, DocsSettings};
use crate::openapi::page::{FILES, HTML, PageNotice, page};
use crate::openapi::{self, Document};
use crate::sync::bulk::apart;

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
/// The methods of all of these.
pub(super) const ALLOW: &str = "GET, HEAD, OPTIONS";

/// A configuration whose document is made when it is first asked for.
#[derive(Debug)]
pub struct DocsSource {
    config: Arc<Config>,
    document: OnceCell<Document>,
}

impl DocsSource {
    /// Nothing is made before it is asked for.
    pub fn new(config: Arc<Config>) -> Self {
        Self { config, document: OnceCell::new() }
    }

    /// Returns the document, made once. That takes a while with thousands of routes, so a thread of
    /// its own does it.
    pub async fn document(&self) -> Document {
        let make = || async {
            let config = Arc::clone(&self.config);
            apart(move || Document::new(&config, FAILURE_WORDS)).await
        };
        self.document.get_or_init(make).await.clone()
    }
}

/// What callers can see of it.
#[derive(Debug)]
pub(super) struct Docs {
    described: Arc<DocsSource>,
    /// Where the page is; `None`: a route takes a path of it.
    page: Option<Arc<str>>,
    /// No route takes the path of the document.
    has_document: bool,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Document,
    Page,
    File(&'static openapi::page::PageFile),
}

/// What is sent for it.
#[derive(Clone, Debug)]
pub(super) struct ShownBody {
    pub(super) content_type: &'static str,
    pub(super) bytes: Bytes,
    pub(super) etag: Option<String>,
}

impl Docs {
    /// What callers of this configuration can see; `None`: nothing. `is_private`: only this machine
    /// can reach the server.
    pub(super) fn new(
        settings: &DocsSettings,
        is_private: bool,
        described: Arc<DocsSource>,
        table: &RouteTable,
    ) -> Option<Self> {
        let place: Arc<str> = match settings {
            DocsSettings::Off => return None,
            DocsSettings::WherePrivate if !is_private => return None,
            DocsSettings::WherePrivate => DocsSettings::USUAL.into(),
            DocsSettings::At(place) => Arc::clone(place),
        };
        let is_free = |path: &str| table.at(path).is_none();
        let has_document = is_free(openapi::PATH);
        let below = FILES.iter().map(|file| file.name).chain([DOCUMENT]);
        let are_free =
            is_free(&place) && below.into_iter().all(|it| is_free(&format!("{place}/{it}")));
        let page = are_free.then_some(place);
        (has_document || page.is_some()).then_some(Self { described, page, has_document })
    }

    /// Where the page is, if callers can see it.
    pub(super) fn page(&self) -> Option<&str> {
        self.page.as_deref()
    }

    /// Returns what is at this path, which no route takes.
    pub(super) fn at(&self, path: &str) -> Option<Shown> {
        if self.has_document && path == openapi::PATH {
            return Some(Shown::Document);
        }
        let below = path.strip_prefix(self.page.as_deref()?)?;
        match below.strip_prefix('/') {
            None => below.is_empty().then_some(Shown::Page),
            Some(DOCUMENT) => Some(Shown::Document),
            Some(name) => FILES.iter().find(|file| file.name == name).map(Shown::File),
        }
    }

    /// Returns what is sent.
    pub(super) async fn body(&self, shown: &Shown) -> ShownBody {
        match shown {
            Shown::Document => {
                let document = self.described.document().await;
                ShownBody {
                    content_type: openapi::CONTENT_TYPE,
                    bytes: document.text().clone(),
                    etag: Some(document.etag().to_owned()),
                }
            }
            Shown::Page => {
                let place = self.page.as_deref().unwrap_or_default();
                ShownBody { content_type: HTML, bytes: page(place, place, None), etag: None }
            }
            Shown::File(file) => ShownBody {
                content_type: file.content_type,
                bytes: Bytes::from_static(file.bytes),
                etag: None,
            },
        }
    }

    /// Returns the page for a person who opened `/` in a browser and asked for nothing that there is;
    /// `None` for every other request.
    pub(super) fn instead(
        &self,
        head: &Parts,
        failure: &Failure,
        (title, detail): (&str, &str),
        request_id: &str,
    ) -> Option<Bytes> {
        let place = self.page.as_deref()?;
        let is_about_the_question = matches!(
            failure,
            Failure::NoRoute | Failure::MethodNotAllowed { .. } | Failure::BadParameter { .. }
        );
        let is_person = is_about_the_question
            && head.method == Method::GET
            && head.uri.path() == "/"
            && is_navigation(&head.headers);
        is_person.then(|| page("/", place, Some(PageNotice { title, detail, request_id })))
    }
}

/// The name of the document below the path of the page, where the page finds it.
const DOCUMENT: &str = "openapi.json";

/// Returns true if a browser is about to show the answer as a page.
pub(super) fn is_navigation(headers: &HeaderMap) -> bool {
    let takes_html = |value: &http::HeaderValue| {
        let kinds = value.as_bytes().split(|byte| *byte == b',');
        kinds.map(<[u8]>::trim_ascii).any(|kind| {
            let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
            kind.trim_ascii().eq_ignore_ascii_case(b"text/html")
        })
    };
    headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate")
        && headers.get_all(ACCEPT).iter().any(takes_html)
}
