//! A policy module as an OCI artifact in the CNCF Wasm layout
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>): one config, exactly one layer.

use std::collections::BTreeMap;

use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use serde::{Deserialize, Serialize};
use tenure_core::name::Digest;
use wasmparser::{Parser, Payload};

use crate::error::OciError;

/// Media type of the config.
pub const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// Media type of the one layer.
pub const LAYER_TYPE: &str = "application/wasm";
/// The config is a few hundred bytes; its list of imports may be long.
pub(crate) const CONFIG_BYTES: u64 = 64 << 10;
/// What registries commonly take; ours has under two thousand.
pub(crate) const MANIFEST_BYTES: u64 = 256 << 10;

const PACKAGE: &str = "tenure:policy/";
/// Annotation: the hooks that it exports, for whoever looks at it without a Wasm tool.
const HOOKS: &str = "dev.tenure.policy.hooks";

/// A module with all that belongs to it, byte by byte as it lies in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The manifest as it was signed over, never written anew.
    pub manifest: Vec<u8>,
    /// The config.
    pub config: Vec<u8>,
    /// The component.
    pub component: Vec<u8>,
}

/// What the author says besides the bytes.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// When it was made, RFC 3339.
    pub created: String,
    /// By whom.
    pub author: Option<String>,
    /// Annotations of the manifest, e.g. `org.opencontainers.image.version`.
    pub annotations: BTreeMap<String, String>,
}

/// The config of the layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmConfig {
    /// When it was made.
    pub created: String,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// `wasm`.
    pub architecture: String,
    /// `wasip2`: of components.
    pub os: String,
    /// Digests of the layers: one.
    pub layer_digests: Vec<String>,
    /// The outer face of the component; core modules have none.
    #[serde(default)]
    pub component: Option<ComponentFace>,
}

/// What a component imports and exports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentFace {
    /// Its exports.
    #[serde(default)]
    pub exports: Vec<String>,
    /// Its imports.
    #[serde(default)]
    pub imports: Vec<String>,
    /// The world that it was built for, if that is known. Of a policy it is not: it is the union of the worlds of its hooks.
    #[serde(default)]
    pub target: Option<String>,
}

/// What a manifest says that passed its checks.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) config: OciDescriptor,
    pub(crate) layer: OciDescriptor,
    /// Digest of the layer, which is that of the component.
    pub(crate) digest: Digest,
}

// === impl Artifact ===

impl Artifact {
    /// Wraps a component.
    ///
    /// # Errors
    /// [`OciError::Layout`]: it is no component; [`OciError::TooLarge`].
    pub fn of(place: &str, component: Vec<u8>, about: About, limit: u64) -> Result<Self, OciError> {
        let size = u64::try_from(component.len()).unwrap_or(u64::MAX);
        bounded(place, "the component", size, limit)?;
        if !Parser::is_component(&component) {
            return Err(OciError::layout(place, "the file is no Wasm component"));
        }
        let face = face(&component)
            .map_err(|error| OciError::layout(place, format!("a damaged component: {error}")))?;
        let digest = Digest::of(&component);
        let mut annotations = about.annotations;
        annotations.insert(HOOKS.to_owned(), hooks(&face));
        let config = WasmConfig {
            created: about.created,
            author: about.author,
            architecture: "wasm".to_owned(),
            os: "wasip2".to_owned(),
            layer_digests: vec![digest.to_string()],
            component: Some(face),
        };
        let config = to_json(&config)?;
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            config: descriptor(CONFIG_TYPE, &config),
            layers: vec![descriptor(LAYER_TYPE, &component)],
            annotations: Some(annotations),
            ..OciImageManifest::default()
        };
        Ok(Self { manifest: to_json(&manifest)?, config, component })
    }

    /// Digest of the component: what a policy object pins and what is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.component)
    }

    /// Digest of the manifest: what a reference pins.
    #[must_use]
    pub fn manifest_digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

// === impl Checked ===

impl Checked {
    /// Reads a manifest and refuses whatever is not this layout, before anything of it is fetched.
    pub(crate) fn read(place: &str, bytes: &[u8], limit: u64) -> Result<Self, OciError> {
        let bad = |why: String| OciError::layout(place, why);
        let value: serde_json::Value = serde_json::from_slice(bytes)
            .map_err(|error| bad(format!("its manifest is no JSON: {error}")))?;
        if value.get("manifests").is_some() {
            return Err(bad("it is an index of several manifests, not one".to_owned()));
        }
        let manifest: OciImageManifest = serde_json::from_value(value)
            .map_err(|error| bad(format!("its manifest cannot be read: {error}")))?;
        if manifest.config.media_type != CONFIG_TYPE {
            let found = &manifest.config.media_type;
            return Err(bad(format!("its config is {found}, not {CONFIG_TYPE}")));
        }
        let [layer] = manifest.layers.as_slice() else {
            let count = manifest.layers.len();
            return Err(bad(format!("it has {count} layers; a policy has exactly one")));
        };
        if layer.media_type != LAYER_TYPE {
            return Err(bad(format!("its layer is {}, not {LAYER_TYPE}", layer.media_type)));
        }
        let digest = Digest::new(&layer.digest).map_err(|error| bad(error.to_string()))?;
        Digest::new(&manifest.config.digest).map_err(|error| bad(error.to_string()))?;
        bounded(place, "its config", size(place, &manifest.config)?, CONFIG_BYTES)?;
        bounded(place, "the component", size(place, layer)?, limit)?;
        Ok(Self { layer: layer.clone(), digest, config: manifest.config })
    }

    /// Refuses a config that is about something else; it is read before the layer is fetched.
    pub(crate) fn check_config(&self, place: &str, bytes: &[u8]) -> Result<WasmConfig, OciError> {
        let config: WasmConfig = serde_json::from_slice(bytes)
            .map_err(|error| OciError::layout(place, format!("its config: {error}")))?;
        if config.layer_digests != [self.layer.digest.as_str()] {
            let why = "its config names other layers than its manifest";
            return Err(OciError::layout(place, why));
        }
        let exports = config.component.as_ref().map(|face| face.exports.as_slice());
        if !exports.unwrap_or_default().iter().any(|name| name.starts_with(PACKAGE)) {
            let why = format!("its config names no export of {PACKAGE}*: it is no policy");
            return Err(OciError::layout(place, why));
        }
        Ok(config)
    }
}

/// A descriptor of these bytes.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> OciDescriptor {
    OciDescriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes).to_string(),
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        ..OciDescriptor::default()
    }
}

/// The size that a descriptor claims.
pub(crate) fn size(place: &str, descriptor: &OciDescriptor) -> Result<u64, OciError> {
    let negative = |_| OciError::layout(place, format!("a size of {}", descriptor.size));
    u64::try_from(descriptor.size).map_err(negative)
}

pub(crate) fn bounded(place: &str, what: &str, size: u64, limit: u64) -> Result<(), OciError> {
    if size <= limit {
        return Ok(());
    }
    Err(OciError::TooLarge { place: place.to_owned(), what: what.to_owned(), size, limit })
}

pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, OciError> {
    serde_json::to_vec(value).map_err(|error| OciError::Bug(error.to_string()))
}

/// The hooks among its exports, such as `select,reclaim`.
fn hooks(face: &ComponentFace) -> String {
    let hook = |name: &String| {
        let interface = name.strip_prefix(PACKAGE)?.split('@').next()?;
        (interface != "lifecycle").then(|| interface.to_owned())
    };
    face.exports.iter().filter_map(hook).collect::<Vec<_>>().join(",")
}

fn face(component: &[u8]) -> wasmparser::Result<ComponentFace> {
    let mut face = ComponentFace::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    face.imports.push(import?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    face.exports.push(export?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(face)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn component() -> Vec<u8> {
        wat::parse_str(
            r#"(component (import "tenure:policy/host@0.1.0" (instance)) (instance $i)
                (export "tenure:policy/lifecycle@0.1.0" (instance $i))
                (export "tenure:policy/select@0.1.0" (instance $i)))"#,
        )
        .unwrap()
    }

    fn artifact() -> Artifact {
        let about = About { created: "2026-01-02T03:04:05Z".to_owned(), ..About::default() };
        Artifact::of("a.wasm", component(), about, LIMIT).unwrap()
    }

    /// The manifest, changed.
    fn refused(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut manifest = serde_json::from_slice(&artifact().manifest).unwrap();
        change(&mut manifest);
        Checked::read("r/x:1", manifest.to_string().as_bytes(), LIMIT).unwrap_err().to_string()
    }

    #[test]
    fn config_and_manifest_have_the_form_of_the_layout() {
        let artifact = artifact();
        let config: serde_json::Value = serde_json::from_slice(&artifact.config).unwrap();
        assert_eq!(
            config,
            serde_json::json!({
                "created": "2026-01-02T03:04:05Z", "architecture": "wasm", "os": "wasip2",
                "layerDigests": [artifact.digest()],
                "component": {
                    "exports": ["tenure:policy/lifecycle@0.1.0", "tenure:policy/select@0.1.0"],
                    "imports": ["tenure:policy/host@0.1.0"], "target": null,
                },
            })
        );
        let manifest: serde_json::Value = serde_json::from_slice(&artifact.manifest).unwrap();
        assert_eq!(manifest["schemaVersion"], 2);
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
        assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        assert_eq!(manifest["annotations"]["dev.tenure.policy.hooks"], "select");
        let checked = Checked::read("r/x:1", &artifact.manifest, LIMIT).unwrap();
        assert_eq!(checked.digest, artifact.digest());
        checked.check_config("r/x:1", &artifact.config).unwrap();
    }

    #[test]
    fn another_layout_is_refused_by_what_differs() {
        let two = refused(|m| {
            let layer = m["layers"][0].clone();
            m["layers"].as_array_mut().unwrap().push(layer);
        });
        assert!(two.contains("it has 2 layers; a policy has exactly one"), "{two}");
        assert!(refused(|m| m["layers"] = serde_json::json!([])).contains("0 layers"));
        let kind = |m: &mut serde_json::Value| {
            m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar".into();
        };
        assert!(refused(kind).contains("its layer is application/vnd.oci.image.layer.v1.tar"));
        let image = |m: &mut serde_json::Value| {
            m["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        };
        assert!(refused(image).contains("its config is application/vnd.oci.image.config.v1+json"));
        assert!(refused(|m| m["manifests"] = serde_json::json!([])).contains("an index"));
        assert!(refused(|m| m["layers"][0]["digest"] = "sha512:00".into()).contains("digest"));
        assert!(refused(|m| m["layers"][0]["size"] = (-1).into()).contains("a size of -1"));
    }

    #[test]
    fn sizes_are_bounded_by_what_the_manifest_claims() {
        let large = refused(|m| m["layers"][0]["size"] = (LIMIT + 1).into());
        assert!(large.contains("the component has 1048577 bytes; at most 1048576"), "{large}");
        let config = refused(|m| m["config"]["size"] = 1_000_000.into());
        assert!(config.contains("its config has 1000000 bytes"), "{config}");
        let error = Artifact::of("a.wasm", component(), About::default(), 8).unwrap_err();
        assert!(matches!(error, OciError::TooLarge { limit: 8, .. }), "{error}");
    }

    #[test]
    fn a_config_about_other_layers_or_no_policy_is_refused() {
        let artifact = artifact();
        let checked = Checked::read("r/x:1", &artifact.manifest, LIMIT).unwrap();
        let mut config: WasmConfig = serde_json::from_slice(&artifact.config).unwrap();
        config.layer_digests.push(Digest::of(b"more").to_string());
        let error = checked.check_config("r/x:1", &to_json(&config).unwrap()).unwrap_err();
        assert!(error.to_string().contains("other layers than its manifest"), "{error}");
        config.layer_digests.pop();
        config.component = None;
        let error = checked.check_config("r/x:1", &to_json(&config).unwrap()).unwrap_err();
        assert!(error.to_string().contains("it is no policy"), "{error}");
    }

    #[test]
    fn what_is_no_component_is_not_wrapped() {
        let error = Artifact::of("a.wasm", b"\0asm\x01\0\0\0".to_vec(), About::default(), LIMIT);
        assert!(error.unwrap_err().to_string().contains("a.wasm is no policy module"));
    }
}
