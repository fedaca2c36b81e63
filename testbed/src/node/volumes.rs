//! The volumes of a pod, written to a folder, as the kubelet does before it starts a container.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::{
    api::Api,
    container::{Kind, References, field, text},
};
use crate::Tokens;

/// Where clients look for the token of a pod.
pub(super) const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The kubelet asks for that much.
const TOKEN_SECONDS: u64 = 3607;
const DEFAULT_MODE: u32 = 0o644;
const TOKEN_MODE: u32 = 0o600;

/// What is mounted into a container, and where.
#[derive(Debug, PartialEq)]
pub(super) struct Mount {
    pub(super) source: PathBuf,
    pub(super) target: String,
    pub(super) read_only: bool,
}

/// Who owns the files; as nobody but root can give files away, else whoever runs this.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

struct File {
    path: String,
    content: Vec<u8>,
    mode: u32,
    is_token: bool,
}

/// Writes the volumes of one pod.
pub(super) struct Volumes<'a> {
    pub(super) api: &'a Api,
    pub(super) pod: &'a Value,
    pub(super) references: &'a References,
    /// Told every token that is made.
    pub(super) tokens: &'a Tokens,
    pub(super) owner: Owner,
    pub(super) dir: &'a Path,
}

impl Volumes<'_> {
    /// The mounts of a container, whose volumes are written.
    pub(super) async fn mounts(&self, container: &Value) -> Result<Vec<Mount>> {
        let spec = &self.pod["spec"];
        let mut volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
        let mut mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
        let is_mounted = mounts.iter().any(|mount| mount["mountPath"] == SERVICE_ACCOUNT);
        if !is_mounted && self.mounts_token_by_itself().await? {
            volumes.push(token_volume());
            mounts.push(json!({ "name": "kube-api-access", "mountPath": SERVICE_ACCOUNT, "readOnly": true }));
        }
        let mut written = Vec::new();
        for mount in mounts {
            let name = text(&mount["name"]);
            let volume = volumes.iter().find(|volume| volume["name"] == name);
            let volume = volume.with_context(|| format!("the pod has no volume {name}"))?;
            let source = self.write(volume).await.with_context(|| format!("write the volume {name}"))?;
            let is_data = volume["emptyDir"].is_null();
            written.push(Mount {
                source: source.join(text(&mount["subPath"])),
                target: text(&mount["mountPath"]).to_owned(),
                // What the API server gave is never written by a pod.
                read_only: is_data || mount["readOnly"] == true,
            });
        }
        Ok(written)
    }

    /// What the admission of `ServiceAccounts` decides in a real cluster.
    async fn mounts_token_by_itself(&self) -> Result<bool> {
        let (namespace, account) = (self.namespace(), self.account());
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}");
        let account = self.api.get(&path).await?;
        let account = account.with_context(|| format!("there is no ServiceAccount {}", self.account()))?;
        let choice = |object: &Value| object["automountServiceAccountToken"].as_bool();
        Ok(choice(&self.pod["spec"]).or_else(|| choice(&account)).unwrap_or(true))
    }

    fn namespace(&self) -> &str {
        text(&self.pod["metadata"]["namespace"])
    }

    fn account(&self) -> &str {
        self.pod["spec"]["serviceAccountName"].as_str().unwrap_or("default")
    }

    async fn write(&self, volume: &Value) -> Result<PathBuf> {
        let dir = self.dir.join(text(&volume["name"]));
        if dir.exists() {
            // Another container's, or from before a restart.
            return Ok(dir);
        }
        fs::create_dir_all(&dir)?;
        if volume["emptyDir"].is_object() {
            fs::set_permissions(&dir, Permissions::from_mode(0o777))?;
            return Ok(dir);
        }
        for file in self.files(volume).await? {
            let path = dir.join(&file.path);
            fs::create_dir_all(path.parent().unwrap_or(&dir))?;
            fs::write(&path, &file.content)?;
            let mode = if self.owner.group.is_some() { file.mode | 0o040 } else { file.mode };
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
            if rustix::process::geteuid().is_root() {
                let user = self.owner.user.filter(|_| file.is_token).unwrap_or(0);
                chown(&path, Some(user), Some(self.owner.group.unwrap_or(0)))?;
            }
        }
        Ok(dir)
    }

    async fn files(&self, volume: &Value) -> Result<Vec<File>> {
        if volume["secret"].is_object() {
            let source = &volume["secret"];
            let data = self.references.data(Kind::Secret, text(&source["secretName"]), source)?;
            return items(data, source, mode(source));
        }
        if volume["configMap"].is_object() {
            let source = &volume["configMap"];
            let data = self.references.data(Kind::ConfigMap, text(&source["name"]), source)?;
            return items(data, source, mode(source));
        }
        if volume["downwardAPI"].is_object() {
            return self.fields(&volume["downwardAPI"]["items"], mode(&volume["downwardAPI"]));
        }
        if !volume["projected"].is_object() {
            bail!("it is of a kind that is not played here: {volume}");
        }
        let mode = mode(&volume["projected"]);
        let mut files = Vec::new();
        for source in volume["projected"]["sources"].as_array().into_iter().flatten() {
            let (secret, map) = (&source["secret"], &source["configMap"]);
            if secret.is_object() {
                let data = self.references.data(Kind::Secret, text(&secret["name"]), secret)?;
                files.extend(items(data, secret, mode)?);
            } else if map.is_object() {
                let data = self.references.data(Kind::ConfigMap, text(&map["name"]), map)?;
                files.extend(items(data, map, mode)?);
            } else if source["downwardAPI"].is_object() {
                files.extend(self.fields(&source["downwardAPI"]["items"], mode)?);
            } else if source["serviceAccountToken"].is_object() {
                files.push(self.token(&source["serviceAccountToken"]).await?);
            } else {
                bail!("a source of it is not played here: {source}");
            }
        }
        Ok(files)
    }

    fn fields(&self, items: &Value, mode: u32) -> Result<Vec<File>> {
        let items = items.as_array().into_iter().flatten();
        items
            .map(|item| {
                let content = field(self.pod, text(&item["fieldRef"]["fieldPath"]))?.into_bytes();
                Ok(File { path: text(&item["path"]).to_owned(), content, mode, is_token: false })
            })
            .collect()
    }

    /// Bound to the pod: it ends with it.
    async fn token(&self, source: &Value) -> Result<File> {
        let (namespace, account) = (self.namespace(), self.account());
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let audiences: Vec<_> = source["audience"].as_str().into_iter().collect();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": source["expirationSeconds"].as_u64().unwrap_or(TOKEN_SECONDS),
                "boundObjectRef": {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "name": self.pod["metadata"]["name"],
                    "uid": self.pod["metadata"]["uid"],
                },
            },
        });
        let answer = self.api.create(&path, &request).await?;
        let token = text(&answer["status"]["token"]).to_owned();
        self.tokens.remember(&token);
        let path = text(&source["path"]).to_owned();
        Ok(File { path, content: token.into_bytes(), mode: TOKEN_MODE, is_token: true })
    }
}

fn mode(source: &Value) -> u32 {
    source["defaultMode"].as_u64().and_then(|mode| u32::try_from(mode).ok()).unwrap_or(DEFAULT_MODE)
}

/// All keys, or those that `items` picks.
fn items(data: Option<&BTreeMap<String, Vec<u8>>>, source: &Value, mode: u32) -> Result<Vec<File>> {
    let Some(data) = data else { return Ok(Vec::new()) };
    let file = |path: &str, content: &Vec<u8>, mode| File {
        path: path.to_owned(),
        content: content.clone(),
        mode,
        is_token: false,
    };
    let Some(items) = source["items"].as_array().filter(|items| !items.is_empty()) else {
        return Ok(data.iter().map(|(key, content)| file(key, content, mode)).collect());
    };
    let mut files = Vec::new();
    for item in items {
        let key = text(&item["key"]);
        let mode = item["mode"].as_u64().and_then(|mode| u32::try_from(mode).ok()).unwrap_or(mode);
        match data.get(key) {
            Some(content) => files.push(file(text(&item["path"]), content, mode)),
            None if source["optional"] == true => {}
            None => bail!("there is no key {key}"),
        }
    }
    Ok(files)
}

/// What the admission of `ServiceAccounts` adds to a pod.
fn token_volume() -> Value {
    let namespace = json!({ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } });
    json!({
        "name": "kube-api-access",
        "projected": {
            "defaultMode": DEFAULT_MODE,
            "sources": [
                { "serviceAccountToken": { "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [namespace] } },
            ],
        },
    })
}
