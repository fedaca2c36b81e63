//! The chart as it runs: installed with the real Helm on a node of real parts; and, for what the API server alone decides, as a
//! process with the `ServiceAccount`, flags and environment of its Deployment.

mod approvers;
mod containers;
mod defaults;
mod from_chart;
mod gitops;
mod leases;
mod least_privilege;
mod manifests;
mod people;
mod pods;
mod release;
mod replicas;
mod rights;
mod sharing;
mod simulator;
mod story;
mod trust;
mod upgrades;
mod values;
