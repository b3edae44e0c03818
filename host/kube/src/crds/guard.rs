//! The admission policy on leases: nobody but the allocator writes them. It is no lock, and nothing depends on it; it
//! keeps a hand with `kubectl edit` from making two holders of one address.

use serde_json::{Value, json};

use super::{GROUP, VERSION};

const NAME: &str = "ipleases.tenure.dev";
/// The allocator's service account in the shipped manifests.
pub(crate) const ALLOCATOR: &str = "system:serviceaccount:tenure-system:tenure-allocator";

pub(super) fn policy() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            // Without an answer a write is refused: a lease is worth more than an ADD.
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [GROUP], "apiVersions": [VERSION], "resources": ["ipleases"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
            }]},
            "validations": [{
                "expression": format!("request.userInfo.username == '{ALLOCATOR}'"),
                "messageExpression":
                    "'leases are written by the allocator only, not by ' + request.userInfo.username + '; to free an address use `tenure release`'",
                "reason": "Forbidden",
            }],
        },
    })
}

pub(super) fn binding() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    })
}
