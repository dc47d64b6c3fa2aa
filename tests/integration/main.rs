//! The integration tests: one binary, one module per room, every path test on every listener engine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs, unreachable_pub)]

mod support;

// The rooms on the path of a request.
mod accept; // connections: keep-alive, pipelining, clients that leave, running out of descriptors
mod admit; // limits, the shape of refusals, overload
mod allow_deny; // addresses, by listener and by route
mod auth; // who is let in: API keys, bearer tokens, Basic; what backends and logs see of it
mod auth_basic; // users and passwords; files of credentials that change
mod auth_secrets; // that keys and passwords show up nowhere
mod backend_tls; // TLS to backends: all that goes over it
mod backend_tls_ends; // how it begins, fails and ends
mod backend_tls_peers; // nginx and openssl at the other end
mod backend_trust; // which backends are trusted
mod balance; // who gets the next request, ejection, no backend
mod body_limits; // bodies that are too large, refused early or cut at the limit
mod breaker; // what ejects a backend and lets it in again; how far retries go
mod changes; // what a route does to paths and header fields
mod concurrency; // how many at once
mod cors; // which pages of other sites may read answers
mod cors_preflight; // what browsers ask beforehand
mod forward; // what a backend is sent; retries; timeouts
mod forward_auth; // another server that says who may pass
mod forward_auth_tls; // the same over TLS
mod hedge; // second attempts while the first is waited for
mod jwt; // signed tokens: good, forged and stale ones
mod jwt_keys; // keys that come and go
mod maintenance; // routes that are closed to all but some
mod mirror; // copies that nobody waits for
mod own_answers; // redirects and fixed answers
mod places; // waiting for a place at a backend
mod rates; // how often
mod respond; // what a client is sent: streams, cuts, large bodies
mod rollout; // restarts and reloads under traffic
mod route; // hosts, paths, services
mod route_conditions; // methods, headers, queries, cookies, client addresses
mod rules; // hosts, methods, rules about header fields and parameters
mod security_headers; // what browsers are told about answers; the way to https
mod shares; // 10,000 requests by each strategy; backups, slow start
mod split; // shares of clients
mod spoofing; // what clients say about themselves
mod spoofing_users; // fields that tell of users
mod sticky; // clients that stay with their backend
mod traversal; // paths that lead elsewhere, in every spelling
mod waiting; // answers that are waited for without a worker

// The reactor engine: what it promises and tiny_http cannot.
mod deadlines; // heads, bodies, readers and idle connections that take too long
mod fuzz; // random and mutated streams
mod limits; // connections, requests on one of them, and sizes while the client still sends
mod listen; // several addresses, threads and processes
mod proxy_protocol; // who the client is, said by a load balancer in front
mod scarce; // few descriptors, little memory, large bodies
mod slow; // crowds of slow clients
mod strict; // what it refuses and tiny_http lets pass
mod tls; // TLS for clients: bodies, ends and cuts
mod tls_handshake; // its handshakes: slow, broken, and those that are none
mod tls_hostile; // clients that stall in it, and broken records
mod tls_records; // records at odd times, and such with nothing in them
mod unix; // Unix sockets on both sides
mod upgrade; // WebSocket

// The side rooms.
mod admin; // the admin listener and the health paths on the traffic port
mod admin_safety; // who may use the admin side
mod api; // backends that come, change and go at run time
mod config; // all ways to configure, and what a bad configuration says
mod demo; // the demonstration
mod discovery; // names that change
mod discovery_file; // files with backends
mod drain; // signals, what finishes and what is cut
mod health; // probes: down, skipped, back
mod logging; // access lines, what never gets into them, rotation
mod reload; // what a reload changes, and what it leaves alone
mod reload_process; // reloads of the program: by signal, command and file; and those that hang
mod restart; // a new process takes over: passed sockets, shared ports, what the supervisor is told
mod restart_under_load; // the same, and no request is lost
mod tls_certificates; // what openssl is shown, and whom we refuse
mod tls_client_certificates; // whose certificates are taken
mod tls_renewal; // certificates that change while it runs
mod tls_self_signed; // certificates that are made here

// Across the rooms.
mod conformance; // one test per rule, named by its RFC section
mod hostile; // a table of bad bytes; after each a good request must work
mod peers; // programs of other people: curl in front, nginx and Python behind
mod peers_websocket; // the same with Python's WebSocket
mod regression; // one test per fixed or known bug
