//! What the process of a container is told: its environment and command line, as the kubelet makes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

/// What the operator listens on where neither a flag nor a variable says so.
const DEFAULT_ADMIN_PORT: u16 = 8080;
const ADMIN_FLAG: &str = "--admin-address";
const ADMIN_VARIABLE: &str = "DLQ_OPERATOR_ADMIN_ADDRESS";
const EVERY_ADDRESS: &str = "0.0.0.0:";

/// The data of the namespace's Secrets and `ConfigMaps`, by their names.
#[derive(Default)]
pub(super) struct References {
    secrets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    config_maps: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// What a reference is to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
}

impl References {
    pub(super) fn new(secrets: &[Value], config_maps: &[Value], ca: &str) -> Result<Self> {
        let mut references = Self::default();
        for secret in secrets {
            references.secrets.insert(name(secret), decoded(&secret["data"])?);
        }
        for map in config_maps {
            let mut data = decoded(&map["binaryData"])?;
            data.extend(strings(&map["data"]).map(|(key, value)| (key, value.into_bytes())));
            references.config_maps.insert(name(map), data);
        }
        // A controller of a real cluster puts it into every namespace.
        let root = BTreeMap::from([("ca.crt".to_owned(), ca.as_bytes().to_vec())]);
        references.config_maps.entry("kube-root-ca.crt".to_owned()).or_insert(root);
        Ok(references)
    }

    /// The data of what `reference` names; `None` when it is not there and need not be.
    pub(super) fn data(
        &self,
        kind: Kind,
        name: &str,
        reference: &Value,
    ) -> Result<Option<&BTreeMap<String, Vec<u8>>>> {
        let objects = match kind {
            Kind::Secret => &self.secrets,
            Kind::ConfigMap => &self.config_maps,
        };
        match objects.get(name) {
            None if reference["optional"] == true => Ok(None),
            None => bail!("there is no {kind:?} {name}"),
            found => Ok(found),
        }
    }

    fn value(&self, kind: Kind, reference: &Value) -> Result<Option<String>> {
        let (name, key) = (text(&reference["name"]), text(&reference["key"]));
        let Some(data) = self.data(kind, name, reference)? else { return Ok(None) };
        match data.get(key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if reference["optional"] == true => Ok(None),
            None => bail!("{kind:?} {name} has no key {key}"),
        }
    }
}

fn name(object: &Value) -> String {
    text(&object["metadata"]["name"]).to_owned()
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn strings(map: &Value) -> impl Iterator<Item = (String, String)> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
}

fn decoded(data: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    strings(data)
        .map(|(key, value)| Ok((key, BASE64_STANDARD.decode(value).context("read base64")?)))
        .collect()
}

/// The variables of a container, each name once.
pub(super) fn environment(
    container: &Value,
    pod: &Value,
    references: &References,
    services: &[(&str, String)],
) -> Result<BTreeMap<String, String>> {
    let mut known: BTreeMap<String, String> =
        services.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    for source in container["envFrom"].as_array().into_iter().flatten() {
        let prefix = text(&source["prefix"]);
        for (kind, reference) in
            [(Kind::Secret, &source["secretRef"]), (Kind::ConfigMap, &source["configMapRef"])]
        {
            if reference.is_null() {
                continue;
            }
            let data = references.data(kind, text(&reference["name"]), reference)?;
            for (key, value) in data.into_iter().flatten() {
                known.insert(format!("{prefix}{key}"), String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let name = text(&variable["name"]);
        let from = &variable["valueFrom"];
        let value = if from.is_null() {
            Some(expand(text(&variable["value"]), &known))
        } else if from["secretKeyRef"].is_object() {
            references.value(Kind::Secret, &from["secretKeyRef"])?
        } else if from["configMapKeyRef"].is_object() {
            references.value(Kind::ConfigMap, &from["configMapKeyRef"])?
        } else if from["fieldRef"].is_object() {
            Some(field(pod, text(&from["fieldRef"]["fieldPath"]))?)
        } else {
            bail!("the variable {name} comes from something that is not played here: {from}");
        };
        if let Some(value) = value {
            known.insert(name.to_owned(), value);
        }
    }
    Ok(known)
}

/// The downward API.
pub(super) fn field(pod: &Value, path: &str) -> Result<String> {
    let keyed = |map: &str| path.strip_prefix(map)?.strip_prefix("['")?.strip_suffix("']");
    let metadata = &pod["metadata"];
    let value = match path {
        "metadata.name" => &metadata["name"],
        "metadata.namespace" => &metadata["namespace"],
        "metadata.uid" => &metadata["uid"],
        "spec.nodeName" => &pod["spec"]["nodeName"],
        "spec.serviceAccountName" => &pod["spec"]["serviceAccountName"],
        "status.podIP" | "status.podIPs" => &pod["status"]["podIP"],
        "status.hostIP" => &pod["status"]["hostIP"],
        _ => match (keyed("metadata.labels"), keyed("metadata.annotations")) {
            (Some(key), _) => &metadata["labels"][key],
            (_, Some(key)) => &metadata["annotations"][key],
            _ => bail!("the field {path} is not played here"),
        },
    };
    Ok(text(value).to_owned())
}

/// `$(NAME)` of a known variable is its value, `$$` is a dollar; everything else stays.
fn expand(value: &str, known: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        if let Some((value, after)) =
            reference.and_then(|(name, after)| known.get(name).map(|value| (value, after)))
        {
            expanded.push_str(value);
            rest = after;
        } else {
            expanded.push('$');
            // An escaped reference loses one dollar, and is not looked at again.
            rest = rest.strip_prefix("$$").unwrap_or(&rest[1..]);
        }
    }
    expanded + rest
}

/// The command line: the image's, unless the container has its own. The first is the program.
pub(super) fn command_line(
    container: &Value,
    entrypoint: &[String],
    environment: &BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let given = |field: &str| {
        let words = container[field].as_array().filter(|words| !words.is_empty())?;
        Some(words.iter().map(|word| expand(text(word), environment)).collect::<Vec<_>>())
    };
    let mut line = given("command").unwrap_or_else(|| entrypoint.to_vec());
    line.extend(given("args").unwrap_or_default());
    if line.is_empty() {
        bail!("neither the container nor its image names a program");
    }
    Ok(line)
}

/// The one place where a container is told something else than its spec says. Pods share the machine's network, so
/// each listens on an address of its own instead of on all. The port stays.
pub(super) fn listen_on(address: Ipv4Addr, line: &mut [String], environment: &mut BTreeMap<String, String>) {
    let own = format!("{address}:");
    let mut is_told = false;
    for word in line.iter_mut() {
        is_told |= word.starts_with(ADMIN_FLAG);
        *word = word.replace(EVERY_ADDRESS, &own);
    }
    for (name, value) in environment.iter_mut() {
        is_told |= name == ADMIN_VARIABLE;
        *value = value.replace(EVERY_ADDRESS, &own);
    }
    if !is_told {
        environment.insert(ADMIN_VARIABLE.to_owned(), format!("{address}:{DEFAULT_ADMIN_PORT}"));
    }
}

/// The number of a port that is given as a number or by name.
pub(super) fn port(port: &Value, containers: &[Value]) -> Result<u16> {
    let number = port.as_u64().or_else(|| {
        let ports = containers.iter().filter_map(|container| container["ports"].as_array()).flatten();
        ports
            .filter(|named| port.is_string() && named["name"] == *port)
            .find_map(|named| named["containerPort"].as_u64())
    });
    let number = number.with_context(|| format!("no container has the port {port}"))?;
    u16::try_from(number).context("read a port")
}

/// The variables that a process inherits and a container does not.
pub(super) fn not_inherited<'a>(
    inherited: impl Iterator<Item = &'a str>,
    environment: &BTreeMap<String, String>,
) -> BTreeSet<&'a str> {
    inherited.filter(|name| *name != "PATH" && !environment.contains_key(*name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn references() -> References {
        let secret = json!({ "metadata": { "name": "upstash" }, "data": { "token": "aHVudGVyMg==" } });
        let map =
            json!({ "metadata": { "name": "settings" }, "data": { "level": "debug", "format": "text" } });
        References::new(&[secret], &[map], "a certificate").unwrap()
    }

    fn pod() -> Value {
        json!({
            "metadata": { "name": "operator-0", "namespace": "ops", "labels": { "app.kubernetes.io/name": "dlq" } },
            "spec": { "serviceAccountName": "operator" },
        })
    }

    fn variables(env: &Value) -> Result<BTreeMap<String, String>> {
        environment(&json!({ "env": env }), &pod(), &references(), &[])
    }

    #[test]
    fn variables_come_from_secrets_maps_and_the_pod_itself() {
        let known = variables(&json!([
            { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "upstash", "key": "token" } } },
            { "name": "LEVEL", "valueFrom": { "configMapKeyRef": { "name": "settings", "key": "level" } } },
            { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "APP", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app.kubernetes.io/name']" } } },
            { "name": "BOTH", "value": "$(POD)/$(APP) $$(POD) $(NONE) 5$" },
        ]))
        .unwrap();
        let of = |name: &str| known[name].as_str();
        assert_eq!(
            [of("TOKEN"), of("LEVEL"), of("POD"), of("APP")],
            ["hunter2", "debug", "operator-0", "dlq"]
        );
        assert_eq!(of("BOTH"), "operator-0/dlq $(POD) $(NONE) 5$");
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_is_optional() {
        for reference in
            [json!({ "name": "none", "key": "token" }), json!({ "name": "upstash", "key": "none" })]
        {
            let variable = |reference: &Value| {
                variables(&json!([{ "name": "A", "valueFrom": { "secretKeyRef": reference } }]))
            };
            assert!(variable(&reference).is_err(), "{reference}");
            let mut optional = reference.clone();
            optional["optional"] = true.into();
            assert_eq!(variable(&optional).unwrap(), BTreeMap::new(), "{reference}");
        }
    }

    #[test]
    fn whole_maps_become_variables_under_a_prefix() {
        let container = json!({ "envFrom": [
            { "prefix": "LOG_", "configMapRef": { "name": "settings" } },
            { "secretRef": { "name": "none", "optional": true } },
        ]});
        let known = environment(&container, &pod(), &references(), &[]).unwrap();
        let names: Vec<_> = known.keys().map(String::as_str).collect();
        assert_eq!(names, ["LOG_format", "LOG_level"]);
    }

    #[test]
    fn the_containers_command_replaces_the_images_and_its_args_follow() {
        let image = ["/dlq-operator".to_owned()];
        let line = |container: Value| command_line(&container, &image, &BTreeMap::new()).unwrap();
        assert_eq!(line(json!({})), ["/dlq-operator"]);
        assert_eq!(line(json!({ "args": ["run"] })), ["/dlq-operator", "run"]);
        assert_eq!(line(json!({ "command": ["sh", "-c"], "args": ["true"] })), ["sh", "-c", "true"]);
    }

    #[test]
    fn a_pod_listens_on_its_own_address_and_the_same_port() {
        let address = Ipv4Addr::new(127, 1, 2, 3);
        let told = |line: &[&str], env: &[(&str, &str)]| {
            let mut line: Vec<_> = line.iter().map(|word| (*word).to_owned()).collect();
            let mut env: BTreeMap<_, _> =
                env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            listen_on(address, &mut line, &mut env);
            (line.join(" "), env.remove(ADMIN_VARIABLE))
        };
        assert_eq!(
            told(&["--admin-address=0.0.0.0:9090"], &[]),
            ("--admin-address=127.1.2.3:9090".to_owned(), None)
        );
        let variable = |value: &str| (String::new(), Some(value.to_owned()));
        assert_eq!(told(&[], &[(ADMIN_VARIABLE, "0.0.0.0:9090")]), variable("127.1.2.3:9090"));
        assert_eq!(told(&[], &[]), variable("127.1.2.3:8080"));
    }

    #[test]
    fn a_port_is_found_by_its_name() {
        let containers = [json!({ "ports": [{ "name": "http", "containerPort": 8080 }] })];
        assert_eq!(port(&json!("http"), &containers).unwrap(), 8080);
        assert_eq!(port(&json!(9), &containers).unwrap(), 9);
        assert!(port(&json!("other"), &containers).is_err());
    }
}
