//! The kernels against hand-computed fixtures (each named by the rule of `docs/semantics` that it shows), against slow and obvious oracles on
//! random histories, and against each other.

mod funnel_oracle;
mod funnel_properties;
mod funnel_rules;
mod lifecycle_stickiness;
mod order;
mod paths;
mod relations;
mod retention_properties;
mod retention_rules;
mod sessions;
mod support;
