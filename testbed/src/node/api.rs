//! What a node asks of the API server, as an admin: without kubectl, whose start takes longer than a request.

use std::fs;

use anyhow::{Context as _, Result, bail};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::{ControlPlane, User};

#[derive(Clone)]
pub(super) struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
    /// As a pod finds it in its `ca.crt`.
    ca: String,
}

impl Api {
    pub(super) fn new(control_plane: &ControlPlane) -> Result<Self> {
        let ca = fs::read_to_string(control_plane.ca()?).context("read the API server's certificate")?;
        let certificates = reqwest::Certificate::from_pem_bundle(ca.as_bytes())?;
        let http = reqwest::Client::builder().tls_certs_only(certificates).build()?;
        let (url, token) = (control_plane.url()?.to_owned(), control_plane.token(User::Admin)?.to_owned());
        Ok(Self { http, url, token, ca })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn ca(&self) -> &str {
        &self.ca
    }

    /// `None` when there is no such thing.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>> {
        match self.send(Method::GET, path, None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            answer => succeeded(&Method::GET, path, answer).map(Some),
        }
    }

    /// The items of a list.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>> {
        let mut list = self.get(path).await?.unwrap_or_default();
        Ok(list["items"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    pub(super) async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        succeeded(&Method::POST, path, self.send(Method::POST, path, Some(object)).await?)
    }

    /// A merge patch. That the object is gone is no error.
    pub(super) async fn patch(&self, path: &str, change: &Value) -> Result<()> {
        self.if_there(Method::PATCH, path, change).await
    }

    /// That the object is gone is no error.
    pub(super) async fn delete(&self, path: &str, options: &Value) -> Result<()> {
        self.if_there(Method::DELETE, path, options).await
    }

    async fn if_there(&self, method: Method, path: &str, body: &Value) -> Result<()> {
        match self.send(method.clone(), path, Some(body)).await? {
            (StatusCode::NOT_FOUND, _) => Ok(()),
            answer => succeeded(&method, path, answer).map(drop),
        }
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value)> {
        let content_type =
            if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request =
            self.http.request(method.clone(), format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", content_type).body(body.to_string());
        }
        let what = || format!("{method} {path}");
        let answer = request.send().await.with_context(what)?;
        Ok((answer.status(), answer.json().await.with_context(what)?))
    }
}

fn succeeded(method: &Method, path: &str, (status, answer): (StatusCode, Value)) -> Result<Value> {
    if !status.is_success() {
        bail!("{method} {path}: {status}, {}", answer["message"].as_str().unwrap_or_default());
    }
    Ok(answer)
}
