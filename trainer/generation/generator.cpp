#include "trainer/generation/generator.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>

#include "data/errors.h"
#include "data/utf8.h"
#include "model/graph/errors.h"
#include "trainer/generation/beam.h"
#include "trainer/generation/decoder.h"

namespace lmnet {
namespace {

/// Bounds the memory of rows that decode together: their number times the longest one's tokens.
constexpr int64_t kMostSlots = 16384;

/// What ends the assistant's turn in a chat.
constexpr const char* kEndOfTurn = "<|im_end|>";

/// Where the first of the stop texts begins, none of which ends before `from`; npos without any.
size_t find_stop(const std::string& text, size_t from, const std::vector<std::string>& stops) {
  size_t first = std::string::npos;
  for (const std::string& stop : stops)
    first = std::min(first, text.find(stop, from < stop.size() ? 0 : from - stop.size() + 1));
  return first;
}

/// How much of a growing text stands: not a character whose end may come, nor what may become a stop text.
size_t settled(std::string_view text, const std::vector<std::string>& stops) {
  size_t end = text.size();
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back)
    if (utf8_step(text.substr(text.size() - back)).kind == Utf8::incomplete) end = text.size() - back;
  for (const std::string& stop : stops)
    for (size_t length = std::min(stop.size() - 1, text.size()); length > 0; --length)
      if (text.ends_with(std::string_view(stop).substr(0, length))) {
        end = std::min(end, text.size() - length);
        break;
      }
  return end;
}

std::string text_of(const Prompt& prompt, const std::vector<int32_t>& ids, const Tokenizer& tokenizer) {
  if (!prompt.messages.empty()) return tokenizer.decode_special(ids);
  return prompt.ids.empty() ? prompt.text : tokenizer.decode(ids);
}

}  // namespace

/// A completion under way.
struct Generator::Growth {
  const Input* input;
  int sample;
  Completion* completion;
  std::vector<int32_t> ids = {};  // prompt and new tokens
  size_t told = 0;                // bytes of the text that the listener has
  bool done = false;

  /// The choice after logits[begin…].
  Choice choose(std::span<const double> logits, const Sampling& sampling) const {
    const auto step = static_cast<int64_t>(completion->ids.size());
    const double draw = sampling.temperature == 0 ? 0 : draw_of(sampling.seed, input->ids, sample, step);
    return choose_token(logits, ids, sampling, draw, repeating_tokens(completion->ids, sampling.no_repeat_ngram));
  }

  void append(const Choice& choice, const Tokenizer& tokenizer, const Sampling& sampling) {
    ids.push_back(choice.id);
    completion->ids.push_back(choice.id);
    completion->logprob += choice.logprob;
    std::string& text = completion->text;
    const size_t before = text.size();
    if (!input->ends.contains(choice.id)) text += tokenizer.decode({&choice.id, 1});
    const size_t stop = find_stop(text, before, input->stops);
    if (stop != std::string::npos) text.resize(stop);
    completion->stopped = stop != std::string::npos || input->ends.contains(choice.id);
    done = completion->stopped || static_cast<int64_t>(completion->ids.size()) == sampling.max_new_tokens;
  }

  void tell(const Listener& listener) {
    const std::string_view text = completion->text;
    const size_t end = done ? text.size() : std::max(told, settled(text, input->stops));
    if (!listener(text.substr(told, end - told))) done = true;
    told = end;
  }
};

Generator::Input Generator::read(const Prompt& prompt, const Sampling& sampling) const {
  const Tokenizer& tokenizer = network_.tokenizer();
  Input input{prompt.ids, network_.ends(), sampling.stop};
  if (!prompt.messages.empty()) {
    input.ids = chat_prompt(tokenizer, prompt.messages);
    if (const auto end_of_turn = tokenizer.special(kEndOfTurn))
      input.ends.insert(*end_of_turn);
    else
      input.stops.emplace_back(kEndOfTurn);
  }
  if (input.ids.empty()) tokenizer.encode(prompt.text, input.ids);
  if (input.ids.empty()) input.ids = {tokenizer.end_of_text()};  // what stands before every text in training
  const int64_t vocabulary = network_.engine().network().backbone().vocabulary;
  for (const int32_t id : input.ids)
    if (id < 0 || id >= vocabulary)
      throw DataError(fmt::format("id {} is outside the vocabulary of {}", id, vocabulary));
  return input;
}

/// Rows that decode together until each is done. Those of one prompt stand side by side and share its forward.
void Generator::grow(std::span<Growth> rows, const Sampling& sampling, const Listener& listener) {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<int64_t> source;
  std::vector<Growth*> alive;
  for (Growth& row : rows) {
    if (alive.empty() || alive.back()->input != row.input) prompts.push_back(row.input->ids);
    source.push_back(static_cast<int64_t>(prompts.size()) - 1);
    row.ids = row.input->ids;
    alive.push_back(&row);
  }
  Decoder decoder(network_.engine(), prompts, sampling.max_new_tokens);
  decoder.select(source);
  while (true) {
    const at::Tensor logits = decoder.logits().to(at::kDouble).contiguous();
    const size_t vocabulary = logits.size(1);
    std::vector<Growth*> still;
    std::vector<int64_t> kept;
    std::vector<int32_t> tokens;
    for (size_t r = 0; r < alive.size(); ++r) {
      Growth& row = *alive[r];
      row.append(row.choose({logits.const_data_ptr<double>() + r * vocabulary, vocabulary}, sampling),
                 network_.tokenizer(), sampling);
      if (listener) row.tell(listener);
      if (row.done) continue;
      still.push_back(&row);
      kept.push_back(static_cast<int64_t>(r));
      tokens.push_back(row.ids.back());
    }
    if (still.empty()) return;
    decoder.select(kept);
    decoder.step(tokens);
    alive = std::move(still);
  }
}

void Generator::search(const Input& input, const Sampling& sampling, Completion& completion) {
  const Tokenizer& tokenizer = network_.tokenizer();
  BeamOptions options{.beams = sampling.beams,
                      .max_new_tokens = sampling.max_new_tokens,
                      .length_penalty = sampling.length_penalty,
                      .no_repeat_ngram = sampling.no_repeat_ngram,
                      .ends = input.ends};
  for (const std::string& stop : input.stops) {
    std::vector<int32_t> ids;
    tokenizer.encode(stop, ids);
    if (ids.size() != 1)
      throw ConfigError(fmt::format("--beam: --stop takes texts of one token, \"{}\" has {}", stop, ids.size()));
    options.ends.insert(ids.front());
  }
  const BeamResult best = search_beams(network_.engine(), input.ids, options);
  completion.ids = best.ids;
  completion.logprob = best.logprob;
  completion.stopped = options.ends.contains(best.ids.back());
  completion.text = tokenizer.decode(std::span(best.ids).first(best.ids.size() - (completion.stopped ? 1 : 0)));
}

std::vector<Completion> Generator::generate(const std::vector<Prompt>& prompts, const Sampling& sampling,
                                            const Listener& listener, const Advance& advance) {
  const Network& network = network_.engine().network();
  std::vector<Input> inputs;
  for (const Prompt& prompt : prompts) {
    inputs.push_back(read(prompt, sampling));
    check_room(network.shape(), static_cast<int64_t>(inputs.back().ids.size()), sampling.max_new_tokens);
  }
  std::vector<Completion> completions(prompts.size() * sampling.samples);
  std::vector<Growth> rows;
  for (size_t c = 0; c < completions.size(); ++c) {
    const size_t p = c / sampling.samples;
    completions[c].prompt = text_of(prompts[p], inputs[p].ids, network_.tokenizer());
    completions[c].prompt_tokens = static_cast<int64_t>(inputs[p].ids.size());
    rows.push_back({&inputs[p], static_cast<int>(c % sampling.samples), &completions[c]});
  }
  const auto tell = [&](size_t done) {
    if (advance) advance(static_cast<int64_t>(done), static_cast<int64_t>(rows.size()));
  };
  if (sampling.beams > 0) {
    for (size_t r = 0; r < rows.size(); ++r) {
      tell(r);
      search(*rows[r].input, sampling, *rows[r].completion);
    }
    tell(rows.size());
    return completions;
  }
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    tell(begin);
    int64_t longest = 0;
    for (end = begin; end < rows.size(); ++end) {
      longest = std::max(longest, rows[end].completion->prompt_tokens + sampling.max_new_tokens);
      const auto count = static_cast<int64_t>(end - begin) + 1;
      if (count > 1 && (count > Decoder::kMostRows || count * longest > kMostSlots)) break;
    }
    grow(std::span(rows).subspan(begin, end - begin), sampling, listener);
  }
  tell(rows.size());
  return completions;
}

}  // namespace lmnet
