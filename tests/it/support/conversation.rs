//! What the scripted model says, turn by turn.

use serde_json::{Value, json};

/// A conversation for the emulated model, in the format of its conversation files.
///
/// A method that adds something adds it to the last turn.
#[derive(Clone)]
pub struct Script(Value);

/// A conversation without turns.
pub fn conversation() -> Script {
    Script(json!({"model": "scripted-1", "turns": []}))
}

/// The conversation that fixes the issue of `fixtures/stories/slugs` in three turns.
pub fn fix() -> Script {
    recorded("fix")
}

/// A conversation of `fixtures/conversations/tests`.
pub fn recorded(name: &str) -> Script {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/conversations/tests");
    let text = std::fs::read_to_string(directory.join(format!("{name}.json"))).unwrap();
    Script(serde_json::from_str(&text).unwrap())
}

/// A model that starts to answer and never comes to an end.
pub fn stalled() -> Script {
    conversation().turn("hm").stall()
}

impl From<Value> for Script {
    fn from(conversation: Value) -> Self {
        Self(conversation)
    }
}

impl Script {
    /// Begins another turn with these words.
    pub fn turn(mut self, says: &str) -> Self {
        self.turns().push(json!({"say": says, "calls": []}));
        self
    }

    /// Adds the turns of another conversation.
    pub fn then(mut self, mut other: Self) -> Self {
        self.turns().append(other.turns());
        self
    }

    /// The setup agent is answered with the turns of `other`.
    pub fn with_setup(mut self, mut other: Self) -> Self {
        self.0["setup"] = json!(std::mem::take(other.turns()));
        self
    }

    /// Calls a tool.
    pub fn call(mut self, tool: &str, arguments: Value) -> Self {
        let calls = self.last()["calls"].as_array_mut().expect("a turn with calls");
        calls.push(json!({"tool": tool, "arguments": arguments}));
        self
    }

    pub fn read(self, path: &str) -> Self {
        self.call("read_file", json!({"path": path}))
    }

    pub fn write(self, path: &str, content: &str) -> Self {
        self.call("write_file", json!({"path": path, "content": content}))
    }

    pub fn edit(self, path: &str, old: &str, new: &str) -> Self {
        self.call("edit_file", json!({"path": path, "edits": [{"old": old, "new": new}]}))
    }

    pub fn ask(self, question: &str) -> Self {
        self.call("ask_human", json!({"question": question}))
    }

    pub fn finish(self, summary: &str) -> Self {
        self.call("finish", json!({"summary": summary}))
    }

    /// The request for this turn must hold these texts.
    pub fn expect(mut self, texts: &[&str]) -> Self {
        self.last()["expect"]["contains"] = json!(texts);
        self
    }

    /// The answer begins and never ends, the first time that it is asked for.
    pub fn stall(self) -> Self {
        self.fault(json!({"stall": true}))
    }

    /// The answer goes wrong in this way.
    pub fn fault(mut self, fault: Value) -> Self {
        self.last()["fault"] = fault;
        self
    }

    /// The turn with this index goes wrong in this way.
    pub fn fault_at(mut self, turn: usize, fault: Value) -> Self {
        self.turns()[turn]["fault"] = fault;
        self
    }

    /// The turn with this index begins and never ends, the first time that it is asked for.
    pub fn stall_at(self, turn: usize) -> Self {
        self.fault_at(turn, json!({"stall": true}))
    }

    /// The turn with this index waits, the first time that it is asked for, until the story releases it.
    pub fn hold_at(self, turn: usize) -> Self {
        self.fault_at(turn, json!({"hold": true}))
    }

    /// The turn with this index calls this tool before its other calls.
    pub fn call_first_at(mut self, turn: usize, tool: &str, arguments: Value) -> Self {
        let calls = self.turns()[turn]["calls"].as_array_mut().expect("a turn with calls");
        calls.insert(0, json!({"tool": tool, "arguments": arguments}));
        self
    }

    /// The first turn must be asked for with exactly these expectations.
    pub fn expect_at(mut self, turn: usize, expect: Value) -> Self {
        self.turns()[turn]["expect"] = expect;
        self
    }

    /// Sets a key of the conversation itself.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }

    /// The turns as JSON.
    pub fn turns(&mut self) -> &mut Vec<Value> {
        self.0["turns"].as_array_mut().expect("turns")
    }

    fn last(&mut self) -> &mut Value {
        self.turns().last_mut().expect("a turn")
    }

    /// The text of a conversation file.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}
