//! Checks exchanges and webhooks against GitHub's own description of its API.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use jsonschema::{Registry, Validator};
use serde_json::{Map, Value, json};

const OPENAPI: &str = "openapi-subset.json";
const WEBHOOKS: &str = "openapi-webhooks-subset.json";
const ROOT: &str = "https://contract.invalid/root";

/// A parsed description, with a registry of its schemas.
pub struct Contract {
    description: Value,
    registry: Registry<'static>,
    /// By schema, since building a validator takes longer than using it.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

/// One of each for the whole process.
static REST_CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::rest);
static WEBHOOKS_CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::webhooks);

/// The violations of the contract in a record (each exchange is a line of JSON) and in webhooks (event and
/// payload).
pub fn judge(record: &str, webhooks: &[(String, Value)]) -> Vec<String> {
    let exchanges = record.lines().map(|line| serde_json::from_str(line).expect("a recorded exchange"));
    let mut violations: Vec<String> =
        exchanges.flat_map(|exchange: Value| REST_CONTRACT.exchange_violations(&exchange)).collect();
    violations.extend(
        webhooks.iter().flat_map(|(event, payload)| WEBHOOKS_CONTRACT.webhook_violations(event, payload)),
    );
    violations
}

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/github-contract").join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Contract {
    /// The REST API: OpenAPI 3.0, whose `nullable` is turned into a null type first.
    pub fn rest() -> Self {
        let description = to_json_schema(&read(OPENAPI));
        Self::new(description)
    }

    /// The webhooks: OpenAPI 3.1, which is JSON Schema.
    pub fn webhooks() -> Self {
        Self::new(read(WEBHOOKS))
    }

    fn new(description: Value) -> Self {
        let root = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "components": description["components"],
        });
        let registry = Registry::new().add(ROOT, root).unwrap().prepare().unwrap();
        Self { description, registry, validators: Mutex::default() }
    }

    /// The violations in an exchange.
    pub fn exchange_violations(&self, exchange: &Value) -> Vec<String> {
        let method = exchange["method"].as_str().unwrap().to_lowercase();
        let path = exchange["path"].as_str().unwrap().split('?').next().unwrap();
        let status = exchange["status"].as_u64().unwrap();
        if path == "/graphql" {
            // GraphQL has a schema of its own, which is not part of this description.
            return Vec::new();
        }
        let Some(operation) = self.operation(&method, path) else {
            return vec![format!("GitHub has no {method} {path}")];
        };
        let mut violations = Vec::new();
        let responses = &operation["responses"];
        let Some(response) = responses.get(status.to_string()) else {
            // Any operation may fail, but may succeed only as described.
            if status < 400 && status != 304 && status != 301 {
                violations.push(format!("{method} {path}: {status} is not a described response"));
            }
            if status >= 400 && !exchange["response_body"]["message"].is_string() {
                violations.push(format!("{method} {path}: an error without a message"));
            }
            return violations;
        };
        let body = &exchange["response_body"];
        match self.media_schema(response) {
            Some(schema) => violations.extend(self.errors(&schema, body)),
            // GitHub sends its usual body with an error, described or not.
            None if body.is_null() || status >= 400 => {}
            None => violations.push("a body where none is described".to_owned()),
        }
        let request_schema = self.media_schema(&operation["requestBody"]);
        if let Some(schema) = request_schema.filter(|_| status < 400 && !exchange["request_body"].is_null()) {
            violations.extend(self.errors(&schema, &exchange["request_body"]));
        }
        violations.into_iter().map(|error| format!("{method} {path} -> {status}: {error}")).collect()
    }

    /// GitHub's id of the operation.
    pub fn operation_id(&self, exchange: &Value) -> Option<String> {
        let method = exchange["method"].as_str()?.to_lowercase();
        let path = exchange["path"].as_str()?.split('?').next()?;
        Some(self.operation(&method, path)?["operationId"].as_str()?.to_owned())
    }

    /// The violations in a webhook's payload.
    pub fn webhook_violations(&self, event: &str, payload: &Value) -> Vec<String> {
        let named = |name: String| name.replace('_', "-");
        let mut names = vec![named(event.to_owned())];
        names.extend(payload["action"].as_str().map(|action| named(format!("{event}-{action}"))));
        let webhooks = &self.description["webhooks"];
        let Some(hook) = names.iter().rev().find_map(|name| webhooks.get(name)) else {
            return vec![format!("GitHub has no webhook {}", names.join(" or "))];
        };
        let schema = self.media_schema(&hook["post"]["requestBody"]).unwrap();
        self.errors(&schema, payload).into_iter().map(|error| format!("{event}: {error}")).collect()
    }

    fn errors(&self, schema: &Value, value: &Value) -> Vec<String> {
        let validator = self.validator(schema);
        let describe = |error: jsonschema::ValidationError<'_>| {
            let text = error.to_string();
            format!("at {}: {}", error.instance_path(), text.chars().take(300).collect::<String>())
        };
        validator.iter_errors(value).map(describe).collect()
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let schema = absolute(schema);
        let mut validators = self.validators.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let make = || {
            let options = jsonschema::options().with_registry(&self.registry);
            Arc::new(options.with_draft(jsonschema::Draft::Draft202012).build(&schema).unwrap())
        };
        validators.entry(schema.to_string()).or_insert_with(make).clone()
    }

    fn media_schema(&self, holder: &Value) -> Option<Value> {
        let content = self.resolve(holder).get("content")?.as_object()?;
        let media = content.get("application/json").or_else(|| content.values().next())?;
        media.get("schema").cloned()
    }

    fn resolve<'a>(&'a self, node: &'a Value) -> &'a Value {
        match node.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.description.pointer(reference.trim_start_matches('#')).unwrap(),
            None => node,
        }
    }

    /// The operation with the most literal matching path.
    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let path = match path.strip_prefix("/repositories/") {
            Some(rest) => {
                format!("/repos/_/_{}", rest.find('/').map(|at| &rest[at..]).unwrap_or_default())
            }
            None => path.to_owned(),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let paths = self.description["paths"].as_object()?;
        let matching = paths.iter().filter(|(pattern, operations)| {
            operations.get(method).is_some() && fits(&pattern.split('/').collect::<Vec<_>>(), &parts)
        });
        let literal = |pattern: &str| pattern.split('/').filter(|part| !part.starts_with('{')).count();
        matching.max_by_key(|(pattern, _)| literal(pattern)).map(|(_, operations)| &operations[method])
    }
}

/// Whether a path fits a pattern of the description. Not a regular expression: hundreds of them, built for
/// each exchange, took half of the time of a story.
fn fits(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], [] | [""]) => true,
        (["{path}"], _) => true,
        (["{ref}" | "{branch}" | "{basehead}", rest @ ..], [_, ..]) => {
            (1..=path.len()).any(|count| fits(rest, &path[count..]))
        }
        ([first, rest @ ..], [part, parts @ ..]) => {
            let is_same = if first.starts_with('{') { !part.is_empty() } else { first == part };
            is_same && fits(rest, parts)
        }
        ([_, ..], []) | ([], [_, ..]) => false,
    }
}

/// References point into the registered document.
fn absolute(node: &Value) -> Value {
    match node {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match (name.as_str(), value.as_str()) {
                ("$ref", Some(text)) => (name.clone(), json!(format!("{ROOT}{text}"))),
                _ => (name.clone(), absolute(value)),
            })
            .collect(),
        Value::Array(items) => items.iter().map(absolute).collect(),
        other => other.clone(),
    }
}

/// OpenAPI 3.0 to JSON Schema: `nullable` becomes a null type, annotations are dropped.
fn to_json_schema(node: &Value) -> Value {
    let fields = match node {
        Value::Object(fields) => fields,
        Value::Array(items) => return items.iter().map(to_json_schema).collect(),
        other => return other.clone(),
    };
    let mut out = Map::new();
    for (name, value) in fields {
        let value = match name.as_str() {
            "nullable" | "example" | "examples" | "discriminator" | "format" => continue,
            "enum" | "required" | "default" => value.clone(),
            // Names of properties may be the names of keywords.
            "properties" => value
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, schema)| (name.clone(), to_json_schema(schema)))
                .collect(),
            _ => to_json_schema(value),
        };
        out.insert(name.clone(), value);
    }
    if fields.get("nullable") == Some(&Value::Bool(true)) {
        return json!({"anyOf": [{"type": "null"}, out]});
    }
    Value::Object(out)
}

#[test]
fn contract_reports_missing_property_wrong_type_and_unknown_operation() {
    let contract = Contract::rest();
    let exchange = |body: Value| {
        json!({
            "method": "GET", "path": "/repos/o/r/labels/bug", "status": 200, "response_body": body
        })
    };
    let good = json!({
        "id": 1, "node_id": "x", "url": "http://x.invalid/", "name": "bug", "description": null,
        "color": "ededed", "default": false,
    });
    assert_eq!(contract.exchange_violations(&exchange(good.clone())), Vec::<String>::new());
    let mut bad = good.clone();
    bad["id"] = json!("1");
    assert_eq!(contract.exchange_violations(&exchange(bad)).len(), 1);
    let mut bad = good;
    bad.as_object_mut().unwrap().remove("color");
    assert_eq!(contract.exchange_violations(&exchange(bad)).len(), 1);
    let unknown = json!({"method": "GET", "path": "/repos/o/r/nothing", "status": 200, "response_body": {}});
    assert_eq!(contract.exchange_violations(&unknown), ["GitHub has no get /repos/o/r/nothing"]);
    let contract = Contract::webhooks();
    assert!(!contract.webhook_violations("issues", &json!({"action": "labeled"})).is_empty());
    assert!(!contract.webhook_violations("issues", &json!({"action": "invented"})).is_empty());
}
