//! The chart as it runs: installed with the real Helm, its Deployment executed as processes with exactly its command line,
//! environment, mounts, probes and the tokens of its `ServiceAccount`.

mod defaults;
mod gitops;
mod leases;
mod least_privilege;
mod people;
mod release;
mod replicas;
mod trust;
mod values;
