//! What can only be seen from outside: the generated files, the layers, and the resource on a real API server.

mod cluster;
mod crd_rules;
mod documents;
mod examples;
mod generated_files;
mod layers;
mod reference;
