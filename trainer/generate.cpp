#include "trainer/generate.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/errors.h"
#include "trainer/checkpoint/errors.h"
#include "trainer/model_spec.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kRows = 32;        // of a batch
constexpr int64_t kTokens = 16384;  // of a batch, where there is more than one row: bounds the memory

Prompt parse_prompt(const std::string& line) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw DataError("no JSON object; give {\"prompt\": …} or {\"ids\": […]}");
  if (json.contains("messages")) throw DataError("\"messages\" is planned, not built yet; give \"prompt\" or \"ids\"");
  if (json.contains("prompt") == json.contains("ids"))
    throw DataError("a prompt has either \"prompt\" or \"ids\", this line has neither or both");
  if (json.contains("prompt")) {
    if (!json["prompt"].is_string()) throw DataError("\"prompt\" must be a text");
    return {json["prompt"].get<std::string>(), {}};
  }
  Prompt prompt;
  const Json& ids = json["ids"];
  const auto is_id = [](const Json& id) { return id.is_number_integer() && id >= 0 && id <= INT32_MAX; };
  if (!ids.is_array() || ids.empty() || !std::ranges::all_of(ids, is_id))
    throw DataError("\"ids\" must be a list of token ids");
  return {"", ids.get<std::vector<int32_t>>()};
}

/// Where the first of the stop texts begins; npos without any.
size_t find_stop(const std::string& text, const std::vector<std::string>& stops) {
  size_t first = std::string::npos;
  for (const std::string& stop : stops) first = std::min(first, text.find(stop));
  return first;
}

Json to_json(const Completion& completion) {
  return {{"prompt", completion.prompt},
          {"text", completion.text},
          {"ids", completion.ids},
          {"logprob", completion.logprob}};
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::vector<Prompt> read_prompts(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in || std::filesystem::is_directory(file))
    throw DataError(fmt::format("{}: cannot read this file of prompts", file.string()));
  std::vector<Prompt> prompts;
  int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      prompts.push_back(parse_prompt(line));
    } catch (const DataError& error) {
      throw DataError(fmt::format("{}:{}: {}", file.string(), number, error.what()));
    }
  }
  if (prompts.empty()) throw DataError(fmt::format("{}: there is no prompt in it", file.string()));
  return prompts;
}

/// One completion while it grows.
struct Generator::Row {
  std::vector<int32_t> ids;  // prompt and new tokens
  size_t prompt = 0;         // tokens of the prompt
  int sample = 0;
  bool ended = false;
  Completion completion;

  int64_t length() const { return static_cast<int64_t>(ids.size()); }
  int64_t longest(const Sampling& sampling) const { return static_cast<int64_t>(prompt) + sampling.max_new_tokens; }
};

std::vector<Generator::Row> Generator::start_rows(const std::vector<Prompt>& prompts, const Sampling& sampling) const {
  const int64_t vocabulary = network_.engine().network().backbone().vocabulary;
  const Tokenizer& tokenizer = network_.tokenizer();
  std::vector<Row> rows;
  for (size_t p = 0; p < prompts.size(); ++p) {
    Row row;
    row.ids = prompts[p].ids;
    if (row.ids.empty()) tokenizer.encode(prompts[p].text, row.ids);
    if (row.ids.empty()) row.ids = {tokenizer.end_of_text()};  // what stands before every text in training
    for (const int32_t id : row.ids)
      if (id < 0 || id >= vocabulary)
        throw DataError(fmt::format("prompt {}: id {} is outside the vocabulary of {}", p + 1, id, vocabulary));
    row.prompt = row.ids.size();
    row.completion.prompt = prompts[p].ids.empty() ? prompts[p].text : tokenizer.decode(prompts[p].ids);
    for (row.sample = 0; row.sample < sampling.samples; ++row.sample) rows.push_back(row);
  }
  return rows;
}

void Generator::step(const std::vector<Row*>& batch, const Sampling& sampling) {
  int64_t rows = static_cast<int64_t>(batch.size()), length = 0;
  for (const Row* row : batch) length = std::max(length, row->length());
  at::Tensor tokens = at::zeros({rows, length}, at::kLong), last = at::empty({rows}, at::kLong);
  for (int64_t r = 0; r < rows; ++r) {
    std::ranges::copy(batch[r]->ids, tokens[r].data_ptr<int64_t>());
    last.data_ptr<int64_t>()[r] = r * length + batch[r]->length() - 1;
  }
  Engine& engine = network_.engine();
  at::Tensor hidden = engine.hidden({tokens, {}, {}}).flatten(0, 1).index_select(0, last);
  at::Tensor logits = engine.logits(hidden).to(at::kDouble).contiguous();
  if (!logits.isfinite().all().item<bool>())
    throw CheckpointError("the network gives numbers that are not finite; take an earlier checkpoint");
  const auto vocabulary = static_cast<size_t>(logits.size(1));
  for (int64_t r = 0; r < rows; ++r) {
    Row& row = *batch[r];
    const std::span prompt = std::span(row.ids).first(row.prompt);
    const double draw = draw_of(sampling.seed, prompt, row.sample, row.length());
    add(row, choose_token({logits[r].const_data_ptr<double>(), vocabulary}, row.ids, sampling, draw), sampling);
  }
}

/// Appends a token, and ends the row where that ends it.
void Generator::add(Row& row, const Choice& choice, const Sampling& sampling) const {
  Completion& completion = row.completion;
  row.ids.push_back(choice.id);
  completion.ids.push_back(choice.id);
  completion.logprob += choice.logprob;
  completion.text = network_.tokenizer().decode(completion.ids);
  const size_t stop = find_stop(completion.text, sampling.stop);
  if (stop != std::string::npos) completion.text.resize(stop);
  completion.stopped = stop != std::string::npos || choice.id == network_.tokenizer().end_of_text();
  row.ended = completion.stopped || row.length() == row.longest(sampling);
}

std::vector<Completion> Generator::generate(const std::vector<Prompt>& prompts, const Sampling& sampling) {
  std::vector<Row> rows = start_rows(prompts, sampling);
  std::vector<Row*> batch;
  size_t next = 0;
  const auto fits = [&](const Row& row) {
    int64_t longest = row.longest(sampling);
    for (const Row* other : batch) longest = std::max(longest, other->longest(sampling));
    return batch.empty() || (batch.size() < kRows && longest * static_cast<int64_t>(batch.size() + 1) <= kTokens);
  };
  while (true) {
    while (next < rows.size() && fits(rows[next])) batch.push_back(&rows[next++]);
    if (batch.empty()) break;
    step(batch, sampling);
    std::erase_if(batch, [](const Row* row) { return row->ended; });
  }
  std::vector<Completion> completions;
  for (Row& row : rows) completions.push_back(std::move(row.completion));
  return completions;
}

int generate(Communicator& world, const std::filesystem::path& checkpoint, const std::vector<Prompt>& prompts,
             const Sampling& sampling, bool jsonl) {
  // Whole completions travel as lines; texts that are not UTF-8 must survive, so only --jsonl prints JSON.
  Json mine = Json::array();
  together(world, [&] {
    check(sampling);
    std::vector<Prompt> share;
    for (size_t p = world.rank(); p < prompts.size(); p += world.size()) share.push_back(prompts[p]);
    SavedNetwork network{CheckpointReader(require_checkpoint(checkpoint))};
    for (const Completion& completion : Generator(network).generate(share, sampling))
      mine.push_back(jsonl ? dump(to_json(completion)) : completion.text);
  });
  std::vector<Json> by_rank;
  const std::vector<uint8_t> packed = Json::to_msgpack(mine);
  for (const std::string& text : gather_texts(world, {packed.begin(), packed.end()}))
    by_rank.push_back(Json::from_msgpack(text));
  if (world.rank() != 0) return 0;
  const auto samples = static_cast<size_t>(sampling.samples), ranks = by_rank.size();
  for (size_t p = 0; p < prompts.size(); ++p)
    for (size_t s = 0; s < samples; ++s)
      fmt::print("{}\n", by_rank[p % ranks][p / ranks * samples + s].get_ref<const std::string&>());
  return 0;
}

}  // namespace lmnet
