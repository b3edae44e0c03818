//! What is laid over the schemas: CEL rules that need no second object, immutable fields, and the bounds that Kubernetes
//! wants to see before it lets a rule run.

use serde_json::{Value, json};

/// Something laid over the schema of one field.
pub(super) struct Amendment {
    /// `spec.ranges[]`: the items of the field `ranges`; empty: the object itself.
    at: &'static str,
    what: What,
}

enum What {
    /// It must hold.
    Rule { rule: &'static str, message: &'static str },
    /// A number for a keyword of the schema.
    Bound(&'static str, u32),
    /// A regular expression.
    Pattern(&'static str),
    /// Anything may stand there.
    Anything,
}

// === impl Amendment ===

impl Amendment {
    const fn rule(at: &'static str, rule: &'static str, message: &'static str) -> Self {
        Self { at, what: What::Rule { rule, message } }
    }

    const fn immutable(at: &'static str, message: &'static str) -> Self {
        Self::rule(at, "self == oldSelf", message)
    }

    const fn bound(at: &'static str, keyword: &'static str, number: u32) -> Self {
        Self { at, what: What::Bound(keyword, number) }
    }

    const fn pattern(at: &'static str, pattern: &'static str) -> Self {
        Self { at, what: What::Pattern(pattern) }
    }

    const fn anything(at: &'static str) -> Self {
        Self { at, what: What::Anything }
    }

    /// Changes the schema of an object.
    pub(super) fn lay_over(&self, schema: &mut Value) -> Result<(), String> {
        let mut pointer = String::new();
        for part in self.at.split('.').filter(|part| !part.is_empty()) {
            let name = part.trim_end_matches("[]");
            pointer += &format!("/properties/{name}");
            if name != part {
                pointer += "/items";
            }
        }
        let field = schema.pointer_mut(&pointer).and_then(Value::as_object_mut);
        let field = field.ok_or_else(|| format!("there is no {} in the schema", self.at))?;
        match self.what {
            What::Rule { rule, message } => {
                let rules = field.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
                if let Some(rules) = rules.as_array_mut() {
                    rules.push(json!({"rule": rule, "message": message}));
                }
            }
            What::Bound(keyword, number) => {
                field.insert(keyword.to_owned(), json!(number));
            }
            What::Pattern(pattern) => {
                field.insert("pattern".to_owned(), json!(pattern));
            }
            What::Anything => {
                field.insert("type".to_owned(), json!("object"));
                field.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            }
        }
        Ok(())
    }
}

/// The longest text of an address, of a range of two, and of a length of time.
const ADDRESS: u32 = 45;
const RANGE: u32 = 91;
const SPAN: u32 = 32;
/// Entries of a list of ranges, routes or names.
const ENTRIES: u32 = 512;

const IS_RANGE: &str = "self.contains('-') ? self.split('-').size() == 2 && self.split('-').all(part, isIP(part)) : isIP(self) || isCIDR(self)";
const IS_RANGE_MESSAGE: &str = "must be an address, a range FIRST-LAST or a CIDR";
const IS_SPAN: &str = "self.matches('^(P[0-9DTHMS.]+|[0-9][0-9a-z ]*)$')";
const IS_SPAN_MESSAGE: &str = "must be a length of time such as 90s, 2m or 1h";
const IS_REQUIREMENT: &str =
    "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)";
const IS_REQUIREMENT_MESSAGE: &str = "In and NotIn need values, Exists and DoesNotExist have none";
const SPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
const DIGEST: &str = "^sha256:[0-9a-f]{64}$";
/// As `OciRef` of the core: with a registry, and with a tag or a digest.
const OCI: &str = r"^((localhost|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?|[A-Za-z0-9-]+:[0-9]{1,5})(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$";
const NETWORK: &str = "^[A-Za-z0-9][A-Za-z0-9_.-]*$";

macro_rules! holds_no_address_outside {
    ($list:literal) => {
        concat!(
            "!has(self.", $list, ") || !isCIDR(self.cidr) || self.", $list, ".all(entry, entry.contains('-') ? ",
            "entry.split('-').all(part, isIP(part) && cidr(self.cidr).containsIP(part)) : ",
            "isCIDR(entry) ? cidr(self.cidr).containsCIDR(entry) : isIP(entry) && cidr(self.cidr).containsIP(entry))"
        )
    };
}

/// Both are compared where both are written as Go writes them, which is how Tenure does; else the condition `Accepted` tells.
macro_rules! is_no_longer {
    ($short:literal, $long:literal) => {
        concat!(
            "!self.",
            $short,
            ".matches('^([0-9]+(ms|s|m|h))+$') || !self.",
            $long,
            ".matches('^([0-9]+(ms|s|m|h))+$') || duration(self.",
            $short,
            ") <= duration(self.",
            $long,
            ")"
        )
    };
}

pub(super) const POOL: &[Amendment] = &[
    Amendment::bound("spec.cidr", "maxLength", ADDRESS),
    Amendment::immutable("spec.cidr", "cidr is immutable; make another pool"),
    Amendment::rule(
        "spec.cidr",
        "isCIDR(self) && cidr(self) == cidr(self).masked()",
        "must be a subnet such as 10.6.0.0/16 or fd00::/64, without host bits",
    ),
    Amendment::rule(
        "spec.cidr",
        "!isCIDR(self) || cidr(self).prefixLength() >= 8",
        "is wider than /8",
    ),
    Amendment::bound("spec.space", "maxLength", 63),
    Amendment::pattern("spec.space", SPACE),
    Amendment::rule("spec.space", "!self.contains('--')", "must not contain `--`"),
    Amendment::immutable("spec.space", "space is immutable; make another pool"),
    Amendment::bound("spec.ranges", "maxItems", ENTRIES),
    Amendment::bound("spec.ranges[]", "maxLength", RANGE),
    Amendment::rule("spec.ranges[]", IS_RANGE, IS_RANGE_MESSAGE),
    Amendment::rule(
        "spec",
        holds_no_address_outside!("ranges"),
        "ranges holds an address outside cidr",
    ),
    Amendment::bound("spec.exclude", "maxItems", ENTRIES),
    Amendment::bound("spec.exclude[]", "maxLength", RANGE),
    Amendment::rule("spec.exclude[]", IS_RANGE, IS_RANGE_MESSAGE),
    Amendment::rule(
        "spec",
        holds_no_address_outside!("exclude"),
        "exclude holds an address outside cidr",
    ),
    Amendment::bound("spec.gateway", "maxLength", ADDRESS),
    Amendment::rule(
        "spec",
        "!has(self.gateway) || !isCIDR(self.cidr) || (isIP(self.gateway) && ip(self.gateway).family() == cidr(self.cidr).ip().family() && (cidr(self.cidr).containsIP(self.gateway) || cidr(self.cidr).prefixLength() == (ip(self.gateway).family() == 4 ? 32 : 128)))",
        "gateway must be an address of cidr",
    ),
    Amendment::bound("spec.routes", "maxItems", ENTRIES),
    Amendment::bound("spec.routes[].dst", "maxLength", ADDRESS),
    Amendment::rule(
        "spec.routes[].dst",
        "isCIDR(self) && cidr(self) == cidr(self).masked()",
        "must be a subnet, without host bits",
    ),
    Amendment::bound("spec.routes[].gw", "maxLength", ADDRESS),
    Amendment::rule("spec.routes[].gw", "isIP(self)", "must be an address"),
    Amendment::bound("spec.routes[].mtu", "minimum", 68),
    Amendment::bound("spec.routes[].scope", "maximum", 255),
    Amendment::rule(
        "spec",
        "!has(self.routes) || !isCIDR(self.cidr) || self.routes.all(route, !isCIDR(route.dst) || cidr(route.dst).ip().family() == cidr(self.cidr).ip().family())",
        "routes must be of the family of cidr",
    ),
    Amendment::bound("spec.dns.nameservers", "maxItems", 16),
    Amendment::bound("spec.dns.nameservers[]", "maxLength", ADDRESS),
    Amendment::rule("spec.dns.nameservers[]", "isIP(self)", "must be an address"),
    Amendment::bound("spec.networks", "maxItems", ENTRIES),
    Amendment::bound("spec.networks[]", "maxLength", 253),
    Amendment::pattern("spec.networks[]", NETWORK),
    Amendment::bound("spec.namespaceSelector.matchExpressions", "maxItems", 64),
    Amendment::rule(
        "spec.namespaceSelector.matchExpressions[]",
        IS_REQUIREMENT,
        IS_REQUIREMENT_MESSAGE,
    ),
    Amendment::bound("spec.podSelector.matchExpressions", "maxItems", 64),
    Amendment::rule("spec.podSelector.matchExpressions[]", IS_REQUIREMENT, IS_REQUIREMENT_MESSAGE),
    Amendment::bound("spec.nodeSelector.matchExpressions", "maxItems", 64),
    Amendment::rule("spec.nodeSelector.matchExpressions[]", IS_REQUIREMENT, IS_REQUIREMENT_MESSAGE),
    Amendment::bound("spec.cooldown", "maxLength", SPAN),
    Amendment::rule("spec.cooldown", IS_SPAN, IS_SPAN_MESSAGE),
    Amendment::bound("spec.cooldownFloor", "maxLength", SPAN),
    Amendment::rule("spec.cooldownFloor", IS_SPAN, IS_SPAN_MESSAGE),
    Amendment::rule(
        "spec",
        is_no_longer!("cooldownFloor", "cooldown"),
        "cooldownFloor is longer than cooldown",
    ),
    Amendment::bound("spec.limits.graceMin", "maxLength", SPAN),
    Amendment::rule("spec.limits.graceMin", IS_SPAN, IS_SPAN_MESSAGE),
    Amendment::bound("spec.limits.graceMax", "maxLength", SPAN),
    Amendment::rule("spec.limits.graceMax", IS_SPAN, IS_SPAN_MESSAGE),
    Amendment::rule(
        "spec.limits",
        is_no_longer!("graceMin", "graceMax"),
        "graceMin is longer than graceMax",
    ),
    Amendment::bound("spec.limits.retainMax", "maxLength", SPAN),
    Amendment::rule("spec.limits.retainMax", IS_SPAN, IS_SPAN_MESSAGE),
    Amendment::bound("spec.limits.cooldownMax", "maxLength", SPAN),
    Amendment::rule("spec.limits.cooldownMax", IS_SPAN, IS_SPAN_MESSAGE),
    Amendment::rule(
        "spec",
        is_no_longer!("cooldown", "limits.cooldownMax"),
        "cooldown is longer than limits.cooldownMax",
    ),
];

pub(super) const RESERVATION: &[Amendment] = &[
    Amendment::bound("spec.addresses", "minItems", 1),
    Amendment::bound("spec.addresses", "maxItems", ENTRIES),
    Amendment::bound("spec.addresses[]", "maxLength", RANGE),
    Amendment::rule("spec.addresses[]", IS_RANGE, IS_RANGE_MESSAGE),
    Amendment::bound("spec.space", "maxLength", 63),
    Amendment::pattern("spec.space", SPACE),
    Amendment::rule("spec.space", "!self.contains('--')", "must not contain `--`"),
];

pub(super) const POLICY: &[Amendment] = &[
    Amendment::pattern("spec.digest", DIGEST),
    Amendment::bound("spec.source.oci", "maxLength", 512),
    Amendment::pattern("spec.source.oci", OCI),
    Amendment::anything("spec.settings"),
    Amendment::bound("spec.hooks", "maxItems", 3),
    Amendment::bound("spec.scope.namespaces", "maxItems", ENTRIES),
    Amendment::bound("spec.scope.pools", "maxItems", ENTRIES),
];

/// A lease is written by the allocator only. Its rules keep a defect of it from doing harm.
pub(super) const LEASE: &[Amendment] = &[
    Amendment::bound("spec.address", "maxLength", ADDRESS),
    Amendment::immutable("spec.address", "the address of a lease is immutable"),
    // `isIP` knows no IPv4 addresses written as IPv6; no pool has them, the store takes them.
    Amendment::rule(
        "spec.address",
        "isIP(self) || self.startsWith('::ffff:')",
        "must be an address",
    ),
    Amendment::bound("spec.space", "maxLength", 63),
    Amendment::pattern("spec.space", SPACE),
    Amendment::immutable("spec.space", "the space of a lease is immutable"),
    // One record per address is a matter of its name: here the two are tied.
    Amendment::rule(
        "",
        "self.metadata.name.startsWith(self.spec.space == 'default' ? '' : self.spec.space + '--')",
        "the name must begin with the space",
    ),
    Amendment::rule(
        "",
        "!isIP(self.spec.address) || (ip(self.spec.address).family() == 4 ? self.metadata.name == (self.spec.space == 'default' ? '' : self.spec.space + '--') + self.spec.address : self.metadata.name.matches('^([a-z0-9-]+--)?[0-9a-f]{1,4}(-[0-9a-f]{1,4}){7}$') && ip(self.metadata.name.split('--')[self.metadata.name.split('--').size() - 1].replace('-', ':')) == ip(self.spec.address))",
        "the name must be the address",
    ),
    Amendment::rule(
        "spec",
        "(self.state == 'Released') == has(self.released) && (self.state == 'Quarantined') == has(self.quarantined)",
        "state and its details must agree",
    ),
    Amendment::pattern("spec.attempt", "^[0-9a-f]{32}$"),
    Amendment::pattern("spec.config", DIGEST),
    Amendment::pattern("spec.decidedBy[]", DIGEST),
    Amendment::bound("spec.previous", "maxItems", 4),
];
