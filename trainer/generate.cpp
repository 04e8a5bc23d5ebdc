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

std::vector<int32_t> Generator::encode(const Prompt& prompt) const {
  std::vector<int32_t> ids = prompt.ids;
  if (ids.empty()) network_.tokenizer().encode(prompt.text, ids);
  if (ids.empty()) ids = {network_.tokenizer().end_of_text()};  // what stands before every text in training
  const int64_t vocabulary = network_.engine().network().backbone().vocabulary;
  for (const int32_t id : ids)
    if (id < 0 || id >= vocabulary)
      throw DataError(fmt::format("id {} is outside the vocabulary of {}", id, vocabulary));
  return ids;
}

std::vector<double> Generator::next_logits(const std::vector<int32_t>& ids) {
  Engine& engine = network_.engine();
  const at::Tensor tokens = at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
  const at::Tensor last = engine.hidden({tokens, {}, {}}).select(1, tokens.size(1) - 1);
  const at::Tensor logits = engine.logits(last).to(at::kDouble).contiguous();
  if (!logits.isfinite().all().item<bool>())
    throw CheckpointError("the network gives numbers that are not finite; take an earlier checkpoint");
  const double* begin = logits.const_data_ptr<double>();
  return {begin, begin + logits.numel()};
}

Completion Generator::complete(const std::vector<int32_t>& prompt, int sample, const Sampling& sampling) {
  const Tokenizer& tokenizer = network_.tokenizer();
  Completion completion;
  std::vector<int32_t> ids = prompt;
  for (int64_t step = 0; step < sampling.max_new_tokens && !completion.stopped; ++step) {
    const double draw = draw_of(sampling.seed, prompt, sample, step);
    const Choice choice = choose_token(next_logits(ids), ids, sampling, draw);
    ids.push_back(choice.id);
    completion.ids.push_back(choice.id);
    completion.logprob += choice.logprob;
    completion.text = tokenizer.decode(completion.ids);
    const size_t stop = find_stop(completion.text, sampling.stop);
    if (stop != std::string::npos) completion.text.resize(stop);
    completion.stopped = stop != std::string::npos || choice.id == tokenizer.end_of_text();
  }
  return completion;
}

std::vector<Completion> Generator::generate(const std::vector<Prompt>& prompts, const Sampling& sampling) {
  std::vector<Completion> completions;
  for (const Prompt& prompt : prompts) {
    const std::vector<int32_t> ids = encode(prompt);
    for (int sample = 0; sample < sampling.samples; ++sample) {
      completions.push_back(complete(ids, sample, sampling));
      completions.back().prompt = prompt.ids.empty() ? prompt.text : network_.tokenizer().decode(prompt.ids);
    }
  }
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
