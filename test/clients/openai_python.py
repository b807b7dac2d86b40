"""The official client for Python, unmodified. Arguments: base URL, key. Prints one line a finished check.

The engine behind the gateway answers by what the last message says, see openai-python.test.ts.
"""
import json
import sys

from openai import AuthenticationError, BadRequestError, NotFoundError, OpenAI
from pydantic import BaseModel

MODEL = "scripted"
base_url, key = sys.argv[1:]
client = OpenAI(base_url=base_url, api_key=key, max_retries=0)

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
    "strict": True,
}


class Person(BaseModel):
    name: str
    age: int


def refused(kind, status, code, param, call):
    try:
        call()
    except kind as error:
        assert (error.status_code, error.code, error.param) == (status, code, param), (error.status_code, error.code, error.param)
        return
    raise AssertionError(f"no {kind.__name__}")


def create():
    first = client.responses.create(model=MODEL, input="say: Hello, Ada.", instructions="Be kind.")
    assert first.output_text == "Hello, Ada.", first
    assert first.status == "completed"
    second = client.responses.create(model=MODEL, input="say: Bye.", previous_response_id=first.id)
    assert second.output_text == "Bye."
    assert second.usage.input_tokens_details.cached_tokens > 0
    assert client.responses.retrieve(second.id).output_text == "Bye."
    items = client.responses.input_items.list(second.id, order="asc", limit=1)
    assert [item.role for item in items] == ["user", "assistant", "user"]
    client.responses.delete(first.id)
    refused(NotFoundError, 404, "response_not_found", "response_id", lambda: client.responses.retrieve(first.id))


def stream():
    text = ""
    kinds = []
    for event in client.responses.create(model=MODEL, input="say: one two three", stream=True):
        kinds.append(event.type)
        if event.type == "response.output_text.delta":
            text += event.delta
    assert text == "one two three"
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed", kinds
    with client.responses.stream(model=MODEL, input="think: four five") as helper:
        for event in helper:
            pass
        final = helper.get_final_response()
    assert final.output_text == "four five"
    assert final.output[0].type == "reasoning" and final.output[0].summary[0].text == "I think."


def tools():
    first = client.responses.create(model=MODEL, input="call: Oslo Rome", tools=[WEATHER])
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments)["city"] for call in calls] == ["Oslo", "Rome"]
    outputs = [{"type": "function_call_output", "call_id": call.call_id, "output": "cold"} for call in calls]
    second = client.responses.create(model=MODEL, input=outputs, previous_response_id=first.id)
    assert second.output_text == "2 results", second.output_text
    with client.responses.stream(model=MODEL, input="call: Bern", tools=[WEATHER], store=False) as helper:
        streamed = helper.get_final_response()
    assert json.loads(streamed.output[0].arguments) == {"city": "Bern"}
    history = [{"role": "user", "content": "call: Bern"}, *streamed.output, {"type": "function_call_output", "call_id": streamed.output[0].call_id, "output": "warm"}]
    assert client.responses.create(model=MODEL, input=history, tools=[WEATHER], store=False).output_text == "1 results"


def parse():
    parsed = client.responses.parse(model=MODEL, input='say: {"name":"Ada","age":36}', text_format=Person)
    assert parsed.output_parsed == Person(name="Ada", age=36)
    with client.responses.stream(model=MODEL, input='say: {"name":"Bob","age":1}', text_format=Person) as helper:
        assert helper.get_final_response().output_parsed == Person(name="Bob", age=1)


def conversations():
    conversation = client.conversations.create(metadata={"topic": "names"}, items=[{"type": "message", "role": "user", "content": "note"}])
    client.responses.create(model=MODEL, input="say: yes", conversation=conversation.id)
    added = client.conversations.items.create(conversation.id, items=[{"type": "message", "role": "user", "content": "more"}])
    note = added.data[0]
    assert (note.role, note.status) == ("user", "completed")
    items = list(client.conversations.items.list(conversation.id, order="asc", limit=2))
    assert [item.role for item in items] == ["user", "user", "assistant", "user"]
    assert client.conversations.items.retrieve(note.id, conversation_id=conversation.id) == note
    client.conversations.items.delete(note.id, conversation_id=conversation.id)
    assert client.conversations.update(conversation.id, metadata={"topic": "x"}).metadata == {"topic": "x"}
    assert client.conversations.retrieve(conversation.id).metadata == {"topic": "x"}
    assert client.conversations.delete(conversation.id).deleted
    refused(NotFoundError, 404, "conversation_not_found", "conversation_id", lambda: client.conversations.retrieve(conversation.id))


def chat():
    messages = [{"role": "user", "content": "say: hi there"}]
    assert client.chat.completions.create(model=MODEL, messages=messages).choices[0].message.content == "hi there"
    chunks = list(client.chat.completions.create(model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "hi there"
    assert chunks[-1].usage.prompt_tokens > 0
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def errors():
    refused(AuthenticationError, 401, "unauthorized", None, lambda: client.with_options(api_key="wrong").responses.create(model=MODEL, input="x"))
    refused(BadRequestError, 400, "previous_response_not_found", "previous_response_id", lambda: client.responses.create(model=MODEL, input="x", previous_response_id="resp_none"))
    refused(BadRequestError, 400, "invalid_value", "temperature", lambda: client.responses.create(model=MODEL, input="x", temperature=9))
    refused(NotFoundError, 404, "model_not_found", "model", lambda: client.responses.create(model="nobody", input="x"))


for check in [create, stream, tools, parse, conversations, chat, errors]:
    check()
    print(check.__name__, flush=True)
