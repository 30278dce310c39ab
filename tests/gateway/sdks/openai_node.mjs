// OpenAI's client for JavaScript: everything that the gateway serves and it knows of.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [base, key, packages] = process.argv.slice(2);
const { default: OpenAI } = await import(pathToFileURL(createRequire(`${packages}/`).resolve("openai")));
const client = new OpenAI({ baseURL: base, apiKey: key, maxRetries: 0 });
const messages = [{ role: "user", content: "Who is the hero?" }];
const parameters = { type: "object", properties: { name: { type: "string" }, age: { type: "integer" } } };
const tools = [{ type: "function", function: { name: "hero", parameters } }];
const json_schema = { name: "hero", strict: true, schema: parameters };
const said = {};

const plain = await client.chat.completions.create({ model: "storyteller", messages });
said.plain = plain.choices[0].message.content;
said.tokens = plain.usage.completion_tokens;

const stream = await client.chat.completions.create({
  model: "storyteller", messages, stream: true, stream_options: { include_usage: true },
});
said.stream = "";
said["stream tokens"] = [];
for await (const chunk of stream) {
  said.stream += chunk.choices[0]?.delta.content ?? "";
  if (chunk.usage) said["stream tokens"].push(chunk.usage.completion_tokens);
}

const called = (answer) => {
  const call = answer.choices[0].message.tool_calls[0].function;
  return [call.name, JSON.parse(call.arguments)];
};
said.tool = called(await client.chat.completions.create({ model: "toolsmith", messages, tools }));
const runner = client.chat.completions.stream({ model: "toolsmith", messages, tools });
said["tool stream"] = called(await runner.finalChatCompletion());

const response_format = { type: "json_schema", json_schema };
const parsed = await client.chat.completions.parse({ model: "storyteller", messages, response_format });
said.schema = JSON.parse(parsed.choices[0].message.content);

const text = await client.completions.create({ model: "storyteller", prompt: "Who?", max_tokens: 2 });
said.completion = text.choices[0].text;
said.response = (await client.responses.create({ model: "storyteller", input: "Who?" })).output_text;
said["response stream"] = (await client.responses.stream({ model: "storyteller", input: "Who?" }).finalResponse()).output_text;
said.embedding = (await client.embeddings.create({ model: "toolsmith", input: ["a", "b"] })).data[1].embedding;
said.models = (await client.models.list()).data.map((model) => model.id);

const failure = async (asking) => asking.then(() => "none", (error) => [error.constructor.name, error.code]);
said.unknown = await failure(client.chat.completions.create({ model: "nonesuch", messages }));
const wrong = new OpenAI({ baseURL: base, apiKey: "us-wrong", maxRetries: 0 });
said.wrong = await failure(wrong.models.list());
said.broken = await failure((async () => {
  for await (const chunk of await client.chat.completions.create({ model: "breaker", messages, stream: true })) {
    said.heard = chunk.choices[0].delta.content;
  }
})());

console.log(JSON.stringify(said));
