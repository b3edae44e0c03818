//! What goes wrong in a cluster, each story by its name.

mod agents;
mod allocators;
mod api_server;
mod blindfold;
mod confirmed;
mod history;
mod late;
mod networks;
mod nodes;
mod storms;
mod watches;
