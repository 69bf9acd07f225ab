//! An emulated model provider over real HTTP, for both wire formats, driven by a conversation file.
//!
//! It checks every request as strictly as the strictest real provider. A request that it rejects is
//! answered with status 400 and recorded as a violation, so that a test can end by asserting that
//! `violations()` is empty. Of a key it only checks that there is one.
//!
//! # The conversation file
//! ```json
//! {
//!   "about": "for people; optional",
//!   "model": "demo-model",
//!   "brief_model": "demo-small",
//!   "brief": [ { "say": "Likely in src/lib.rs" } ],
//!   "turns": [
//!     { "expect": { "contains": ["text"], "last_contains": ["text"], "not_contains": ["text"] },
//!       "think": "reasoning, sent with a signature that must come back unchanged (Anthropic)",
//!       "say": "text",
//!       "calls": [ { "tool": "edit_file", "arguments": { "path": "a" } },
//!                  { "tool": "edit_file", "raw_arguments": "{\"broken" } ],
//!       "usage": { "input": 1200, "output": 80, "cache_read": 1000, "cache_write": 0 },
//!       "stop": "output_limit",
//!       "fault": { "status": 529, "times": 2, "retry_after": 1 } }
//!   ],
//!   "afterwards": "error",
//!   "context_tokens": 200000
//! }
//! ```
//! - A request **with tools** is answered with the turn (of `setup`, if it offers `propose_setup`, else of `turns`)
//!   whose index is the number of assistant messages in it, so a resumed conversation continues at the right turn
//!   without any stored state. If its first message says `Turns so far: N.`, it continues an earlier conversation at
//!   turn N. A request **without tools** is answered with the first turn of `brief` whose `expect` holds.
//! - `expect`: texts that must, or must not, be in the request (system prompt, messages, tool
//!   results, tool arguments), or in its last message. Otherwise the answer is 400 and a violation.
//! - `calls`: `arguments` is JSON (default `{}`), `raw_arguments` is text that may be invalid JSON.
//! - `usage`: computed from sizes by default (four bytes a token), with cache reads for the known prefix.
//! - `stop`: `output_limit` or `refusal`; follows from `calls` by default.
//! - `fault`, for the first `times` (default 1) requests for this turn in each conversation:
//!   `{"status": 529, "retry_after": 1, "message": "…"}`, `{"cut_after_bytes": 100}` (connection
//!   reset; with `"cleanly": true` a proper end of the body), `{"stall": true}` (silence after half
//!   the answer), `{"hold": true}` (silence until the test releases it), `{"content_type": "text/html"}`,
//!   `{"stream_error": "overloaded_error"}`.
//! - `afterwards`: after the last turn, `error` (default: 400 and a violation) or `repeat_last`.
//! - `context_tokens`: a longer prompt is answered as too long, which is not a violation. Default: unlimited.
//! - Reasoning is signed with everything before it; a change there is a violation. So is a conversation
//!   that changes in the middle, unless handles of `read_result` replace results.
//! - A model name that is neither `model` nor `brief_model` is answered with 404, as by a real provider.

mod answer;
mod anthropic;
mod body;
mod conversation;
mod emulated_format;
mod emulated_provider;
mod openai;
mod provider;
mod request;
mod rules;
mod serve;
mod shared;
mod usage;

pub use conversation::{
    Afterwards, Conversation, Expectation, InvalidConversation, ScriptedCall, ScriptedStop, ScriptedTurn,
    TurnFault, TurnUsage,
};
pub use emulated_provider::EmulatedProvider;
pub use provider::Provider;
pub use shared::RecordedRequest;
