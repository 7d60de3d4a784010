//! Black-box tests: the real binary, real sockets, real workers, one behaviour a file.

#![allow(clippy::float_cmp, reason = "metrics are read as numbers, and these are whole")]

mod abandoned;
mod access_log;
mod access_log_file;
mod admin;
mod agent;
mod attacks;
mod backoff;
mod bad_answers;
mod bad_starts;
mod batches;
mod browser;
mod cache;
mod clock;
mod configuration_files;
mod cors;
mod crash;
mod deadlines;
mod deploy;
mod diagnosis;
mod docs;
mod docs_page;
mod drain;
mod eof;
mod fair_queue;
mod faults;
mod first_request;
mod first_start;
mod flood;
mod groups;
mod haproxy;
mod held_memory;
mod hostile_callers;
mod hostile_questions;
mod hostile_requests;
#[cfg(feature = "tls")]
mod http2;
mod http_replies;
mod hygiene;
mod inheritance;
mod job_deaths;
mod job_faults;
mod job_runs;
mod jobs;
mod json_dialects;
mod json_rpc;
mod json_rpc_asides;
mod json_rpc_cancel;
mod json_rpc_nonsense;
mod keys;
mod kill;
mod kubernetes;
mod large_questions;
mod last_answers;
mod late;
mod lengths;
mod life_cycle;
mod many_connections;
mod mapping;
mod methods;
mod monitoring;

mod old_callers;
mod one_liner;
mod operators;
mod orphans;
mod out_of_memory;
mod overload;
mod per_address;
mod poisonous;
mod program_errors;
mod progress;
mod proxies;
mod proxy_protocol;
mod python_ahead;
mod python_batches;
mod python_calls;
mod python_faults;
mod python_forks;
mod python_processes;
mod python_reload;
mod python_starts;
mod python_streams;
mod queue;
mod readiness;
mod readme;
mod records;
mod recycle;
mod reload;
mod retry;
mod scaling;
mod secret_files;
mod secrets;
mod service_manager;
mod several_lines;
#[cfg(feature = "redis")]
mod shared_cache;
#[cfg(feature = "redis")]
mod shared_cache_check;
#[cfg(feature = "redis")]
mod shared_looks;
mod shared_runs;
mod slow_calls;
mod soak;
mod socket_activation;
mod socket_file;
#[cfg(feature = "nats")]
mod spread;
#[cfg(feature = "nats")]
mod spread_bodies;
#[cfg(feature = "nats")]
mod spread_check;
#[cfg(feature = "nats")]
mod spread_faults;
#[cfg(feature = "nats")]
mod spread_load;
#[cfg(feature = "nats")]
mod spread_logins;
#[cfg(feature = "nats")]
mod spread_losses;
#[cfg(feature = "nats")]
mod spread_partitions;
#[cfg(feature = "nats")]
mod spread_seen;
#[cfg(feature = "nats")]
mod spread_streams;
mod startup;
mod status_page;
mod status_page_attacks;
mod status_page_jobs;
mod status_page_looks;
mod stderr;
mod stepping_back;
mod streaming;
mod stress;
mod support;
mod system;
mod systemd_example;
mod tap;
mod tap_lines;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_clients;
#[cfg(feature = "tls")]
mod tls_renewal;
mod top;
mod turn;
mod turn_ends;
mod turn_in_doubt;
mod two_pools;
mod unasked;
mod uploads;
mod viewers;
mod watch;
mod web_pages;
