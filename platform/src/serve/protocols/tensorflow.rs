//! TensorFlow Serving's REST interface: `:predict` by rows (`instances`) or by columns (`inputs`), the status and the
//! metadata of a model. A row is a user as a string, or an object as `POST /v1/predict` takes it; the columns are `user`,
//! `at` and `apps`. KServe's protocol 1 asks the same `:predict`, and finds `ready` in the status.
//!
//! By columns `app` and `probability` have one length: shorter answers are filled up with an empty name and 0.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::super::answers::PredictResponse;
use super::super::http::{Sent, Shared};
use super::super::question::PredictRequest;
use super::rows::{Place, of_columns, questions, values};
use super::tensors::{OUTPUTS, outputs};
use super::{Caller, Refused, Result};

/// The only signature.
const SIGNATURE: &str = "serving_default";

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v1/models/{model}", get(status).post(predict))
        .route("/v1/models/{model}/metadata", get(metadata))
        .route("/v1/models/{model}/versions/{version}", get(version_status).post(predict_version))
        .route("/v1/models/{model}/versions/{version}/metadata", get(version_metadata))
}

async fn status(caller: Caller, Path(model): Path<String>) -> Result<Json<Value>> {
    caller.live(&model, None).map(|live| Json(state(&model, &live)))
}

async fn version_status(
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    caller.live(&model, Some(&version)).map(|live| Json(state(&model, &live)))
}

fn state(model: &str, live: &str) -> Value {
    let fine = json!({ "error_code": "OK", "error_message": "" });
    json!({
        "model_version_status": [{ "version": live, "state": "AVAILABLE", "status": fine }],
        // KServe's protocol 1.
        "name": model,
        "ready": true,
    })
}

async fn metadata(caller: Caller, Path(model): Path<String>) -> Result<Json<Value>> {
    caller.live(&model, None).map(|live| Json(described(&model, &live)))
}

async fn version_metadata(
    caller: Caller,
    Path((model, version)): Path<(String, String)>,
) -> Result<Json<Value>> {
    caller.live(&model, Some(&version)).map(|live| Json(described(&model, &live)))
}

/// As TensorFlow Serving describes a saved model.
fn described(model: &str, live: &str) -> Value {
    let tensor = |name: &str, datatype: &str, dimensions: usize| {
        let dtype = match datatype {
            "FP64" => "DT_DOUBLE",
            "BOOL" => "DT_BOOL",
            "INT32" => "DT_INT32",
            _ => "DT_STRING",
        };
        let dimensions = vec![json!({ "size": "-1", "name": "" }); dimensions];
        json!({
            "dtype": dtype,
            "tensor_shape": { "dim": dimensions, "unknown_rank": false },
            "name": name,
        })
    };
    let inputs: Map<String, Value> = [("user", "BYTES"), ("at", "BYTES"), ("apps", "INT32")]
        .map(|(name, datatype)| (name.to_owned(), tensor(name, datatype, 1)))
        .into_iter()
        .collect();
    let outputs: Map<String, Value> = OUTPUTS
        .map(|(name, datatype, dimensions)| (name.to_owned(), tensor(name, datatype, dimensions)))
        .into_iter()
        .collect();
    let signature =
        json!({ "inputs": inputs, "outputs": outputs, "method_name": "tensorflow/serving/predict" });
    json!({
        "model_spec": { "name": model, "signature_name": "", "version": live },
        "metadata": { "signature_def": { "signature_def": { (SIGNATURE): signature } } },
    })
}

async fn predict(caller: Caller, Path(call): Path<String>, sent: Sent) -> Result<Json<Value>> {
    let model = called(&call)?;
    answer(&caller, (model, None), &sent).await
}

async fn predict_version(
    caller: Caller,
    Path((model, call)): Path<(String, String)>,
    sent: Sent,
) -> Result<Json<Value>> {
    let version = called(&call)?;
    answer(&caller, (&model, Some(version)), &sent).await
}

/// What stands before `:predict`.
fn called(call: &str) -> Result<&str> {
    call.strip_suffix(":predict").ok_or_else(|| {
        let reason = "no such call: `:predict` is there, `:classify` and `:regress` are not";
        Refused::new(StatusCode::NOT_FOUND, None, reason)
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predict<'a> {
    #[serde(default)]
    signature_name: Option<String>,
    #[serde(borrow, default)]
    instances: Option<&'a RawValue>,
    #[serde(borrow, default)]
    inputs: Option<&'a RawValue>,
}

async fn answer(
    caller: &Caller,
    (model, version): (&str, Option<&str>),
    Sent(body): &Sent,
) -> Result<Json<Value>> {
    caller.live(model, version)?;
    let request: Predict<'_> = serde_json::from_slice(body).map_err(|error| Refused::json("body", &error))?;
    if request.signature_name.is_some_and(|name| !name.is_empty() && name != SIGNATURE) {
        let reason = format!("no such signature: there is `{SIGNATURE}`");
        return Err(Refused::field("signature_name", reason));
    }
    let most = caller.served.max_rows;
    match (request.instances, request.inputs) {
        (Some(rows), None) => {
            let questions = questions(rows.get(), most, "instances")?;
            let answers = caller.answer(&questions, version, Place::Listed("instances")).await?;
            Ok(Json(json!({ "predictions": answers.iter().map(row).collect::<Vec<_>>() })))
        }
        (None, Some(columns)) => {
            let questions = of_inputs(columns.get(), most)?;
            let answers = caller.answer(&questions, version, Place::Columns).await?;
            Ok(Json(json!({ "outputs": by_columns(&answers) })))
        }
        _ => Err(Refused::field("body", "send either `instances` or `inputs`")),
    }
}

/// The outputs of one row.
fn row(answer: &PredictResponse) -> Value {
    json!({
        "app": answer.apps.iter().map(|app| &*app.app).collect::<Vec<_>>(),
        "probability": answer.apps.iter().map(|app| app.probability).collect::<Vec<_>>(),
        "confidence": answer.confidence,
        "abstains": answer.abstains,
        "known": answer.known,
        "degraded": answer.degraded,
        "answer_id": answer.answer_id,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns<'a> {
    #[serde(borrow)]
    user: &'a RawValue,
    #[serde(borrow, default)]
    at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    apps: Option<&'a RawValue>,
}

/// An object of columns, or the column of users alone.
fn of_inputs(json: &str, most: usize) -> Result<Vec<PredictRequest>> {
    let texts =
        |json: &RawValue, name: &str| values(json.get(), most).map_err(|error| Refused::json(name, &error));
    if !json.trim_ascii_start().starts_with('{') {
        let users = values(json, most).map_err(|error| Refused::json("inputs", &error))?;
        return of_columns(users, None, None, most);
    }
    let columns: Columns<'_> = serde_json::from_str(json).map_err(|error| Refused::json("inputs", &error))?;
    let times = columns.at.map(|at| texts(at, "at")).transpose()?;
    let apps = columns.apps.map(|apps| values(apps.get(), most)).transpose();
    let apps = apps.map_err(|error| Refused::json("apps", &error))?;
    of_columns(texts(columns.user, "user")?, times, apps, most)
}

/// The outputs, each with the values of all rows.
fn by_columns(answers: &[PredictResponse]) -> Map<String, Value> {
    let named = outputs(answers).map(|output| {
        let values = json!(output.values);
        let nested = |row: usize, width: usize| {
            let values = values.as_array().and_then(|values| values.get(row * width..(row + 1) * width));
            json!(values.unwrap_or_default())
        };
        let values = match output.shape[..] {
            [rows, width] => (0..rows).map(|row| nested(row, width)).collect(),
            _ => values,
        };
        (output.name.to_owned(), values)
    });
    named.into_iter().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said<T>(result: Result<T>) -> String {
        match result {
            Err(Refused::Request { status, reason, .. }) => format!("{} {reason}", status.as_u16()),
            Err(Refused::Answer(failure)) => format!("{failure:?}"),
            Ok(_) => "nothing is wrong".to_owned(),
        }
    }

    #[test]
    fn columns_are_read_by_name_or_as_users_alone() {
        let read = of_inputs(r#"{"user": [["a"], ["b"]], "at": ["", "t"], "apps": 4}"#, 3).unwrap();
        let fields: Vec<_> = read.iter().map(|q| (&*q.user, q.at.as_deref(), q.apps)).collect();
        assert_eq!(fields, [("a", None, Some(4)), ("b", Some("t"), Some(4))]);
        assert_eq!(of_inputs(r#"["a", "b"]"#, 3).unwrap().len(), 2);
        for (json, expected) in [
            (r#"{"at": ["x"]}"#, "missing field `user`"),
            (r#"{"user": ["a"], "place": ["x"]}"#, "unknown field `place`"),
            (r#"{"user": ["a"], "apps": [1.5]}"#, "field `apps`"),
            (r#"{"user": ["a", 7]}"#, "field `user`"),
            (r#"["a","b","c","d"]"#, "413 more than 3"),
            (r#"["a","b","c","d","e"]"#, "413 more than 3"),
            ("7", "field `inputs`"),
        ] {
            let found = said(of_inputs(json, 3));
            assert!(found.contains(expected), "{json}: {found}");
        }
    }

    #[test]
    fn predict_is_the_only_call() {
        assert_eq!(called("foretap:predict").unwrap(), "foretap");
        assert_eq!(called("a:b:predict").unwrap(), "a:b");
        for call in ["foretap", "foretap:classify", "foretap:Predict"] {
            assert!(said(called(call)).starts_with("404"), "{call}");
        }
    }

    #[test]
    fn columns_have_rows_of_one_length() {
        let answer = |apps: &[&str]| PredictResponse {
            answer_id: "a".to_owned(),
            model: "1".to_owned(),
            route: "trees".to_owned(),
            known: true,
            behind: false,
            degraded: false,
            apps: apps
                .iter()
                .map(|app| super::super::super::answers::AppProbability {
                    app: (*app).to_owned(),
                    probability: 0.25,
                })
                .collect(),
            confidence: 0.5,
            abstains: false,
        };
        let columns = by_columns(&[answer(&["m", "n"]), answer(&["o"])]);
        assert_eq!(columns["app"], json!([["m", "n"], ["o", ""]]));
        assert_eq!(columns["probability"], json!([[0.25, 0.25], [0.25, 0.0]]));
        assert_eq!(columns["confidence"], json!([0.5, 0.5]));
        assert_eq!(by_columns(&[answer(&[]), answer(&[])])["app"], json!([[], []]));
    }
}
