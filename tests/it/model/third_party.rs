//! The clients against the server of another project: litellm's proxy, which implements both formats.
//! `.ci/run` installs it and sets MENDWRIGHT_TEST_LITELLM to its program.

use std::time::Duration;

use mendwright::domain::StopReason;
use mendwright::model::{Model, ModelConfig, ModelError, Provider, connect};
use tokio::process::{Child, Command};

use super::{KEY, quick_config, task, text};

/// Its first start takes about ten seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// Models that answer without a provider.
const CONFIGURATION: &str = r#"
model_list:
  - {model_name: words, litellm_params: {model: openai/gpt-4o, api_key: none, mock_response: "I look first. Größe 💥."}}
  - {model_name: long, litellm_params: {model: openai/gpt-4o, api_key: none, mock_response: litellm.ContextWindowExceededError}}
  - {model_name: limited, litellm_params: {model: openai/gpt-4o, api_key: none, mock_response: litellm.RateLimitError}}
  - {model_name: broken, litellm_params: {model: openai/gpt-4o, api_key: none, mock_response: litellm.InternalServerError}}
litellm_settings: {num_retries: 0}
"#;

struct Proxy {
    address: String,
    _directory: tempfile::TempDir,
    _process: Child,
}

impl Proxy {
    async fn start() -> Self {
        let program =
            std::env::var("MENDWRIGHT_TEST_LITELLM").expect("MENDWRIGHT_TEST_LITELLM names litellm");
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("config.yaml");
        let text = format!("{CONFIGURATION}general_settings: {{master_key: {KEY}}}\n");
        std::fs::write(&configuration, text).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(program)
            .args(["--host", "127.0.0.1", "--port", &port.to_string(), "--config"])
            .arg(&configuration)
            .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            .env("LITELLM_TELEMETRY", "False")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("litellm starts");
        let address = format!("http://127.0.0.1:{port}");
        let asks = reqwest::Client::builder().no_proxy().build().unwrap();
        let ready = async {
            while asks.get(format!("{address}/health/liveliness")).send().await.is_err() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("litellm listens");
        Self { address, _directory: directory, _process: process }
    }

    fn model(&self, format: Provider, name: &str) -> std::sync::Arc<dyn Model> {
        let path = match format {
            Provider::Anthropic => "",
            Provider::OpenAi => "/v1",
        };
        let url = format!("{}{path}", self.address).parse().unwrap();
        let mut config = ModelConfig { name: name.to_owned(), ..quick_config(format, url) };
        // Its first response takes long on a busy machine.
        (config.limits.idle_time_max, config.retry.call_time_max) = (PATIENCE, PATIENCE);
        connect(config).unwrap()
    }
}

#[tokio::test]
#[ignore = "needs litellm"]
async fn replies_and_errors_of_another_server_are_read() {
    let proxy = Proxy::start().await;
    for format in Provider::ALL {
        // Streamed in OpenAI's format; in Anthropic's, mock answers come as one JSON message.
        let reply = proxy.model(format, "words").complete(&task()).await.unwrap();
        assert_eq!(text(&reply.blocks), "I look first. Größe 💥.", "{format:?}");
        assert_eq!((reply.stop, reply.model.as_str()), (StopReason::EndOfTurn, "words"));
        assert!(reply.usage.input_tokens > 0 && reply.usage.output_tokens > 0, "{:?}", reply.usage);

        let long = proxy.model(format, "long").complete(&task()).await.unwrap_err();
        assert!(matches!(long, ModelError::ContextOverflow { .. }), "{format:?}: {long}");
        for passing in ["limited", "broken"] {
            let error = proxy.model(format, passing).complete(&task()).await.unwrap_err();
            assert!(matches!(error, ModelError::Unavailable { attempts: 3, .. }), "{format:?}: {error}");
        }
        let unknown = proxy.model(format, "unknown").complete(&task()).await.unwrap_err();
        assert!(matches!(unknown, ModelError::Refused { status: 400, .. }), "{format:?}: {unknown}");
        assert!(unknown.to_string().contains("Invalid model name"), "{unknown}");
    }
}
