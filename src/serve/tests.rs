//! The whole road over exchanges in memory: no client sockets, real backends.
