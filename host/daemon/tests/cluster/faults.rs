//! What goes wrong in a cluster, each story by its name.

mod agents;
mod allocators;
mod api_server;
mod confirmed;
mod history;
mod nodes;
