#include "trainer/generation/generate.h"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "data/errors.h"
#include "data/utf8.h"
#include "model/graph/errors.h"
#include "trainer/clock.h"
#include "trainer/describe.h"
#include "trainer/run/signals.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Completion& completion) {
  return {{"prompt", completion.prompt},
          {"text", completion.text},
          {"ids", completion.ids},
          {"logprob", completion.logprob}};
}

std::string dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

/// How much was generated, and how fast.
struct Speed {
  int64_t tokens = 0, beyond = 0;  // beyond: texts longer than the network was made for
  double seconds = 0;              // without the reading of the network

  void tell(int64_t longest) const {
    fmt::print(stderr, "{} · {:.2f} s · {:.1f} tok/s\n", counted(tokens, "token"), seconds,
               static_cast<double>(tokens) / std::max(seconds, 1e-9));
    if (beyond > 0)
      fmt::print(stderr, "warning: {} of the texts are longer than the {} tokens that this network was made for\n",
                 beyond, longest);
  }
};

class Session {
 public:
  explicit Session(const std::filesystem::path& checkpoint) : network_(checkpoint), generator_(network_) {}

  std::vector<Completion> generate(const std::vector<Prompt>& prompts, const Sampling& sampling,
                                   const Generator::Listener& listener = {}) {
    const auto start = Clock::now();
    std::vector<Completion> completions = generator_.generate(prompts, sampling, listener);
    speed_ = {0, 0, seconds_since(start)};
    for (const Completion& completion : completions) {
      const auto tokens = static_cast<int64_t>(completion.ids.size());
      speed_.tokens += tokens;
      speed_.beyond += longest() > 0 && completion.prompt_tokens + tokens > longest();
    }
    return completions;
  }

  const Speed& speed() const { return speed_; }
  /// The most tokens of a text that the network was made for; 0 = no limit.
  int64_t longest() { return network_.engine().network().shape().longest().value_or(0); }

 private:
  SavedNetwork network_;
  Generator generator_;
  Speed speed_;
};

/// Shows a text while it grows: a terminal gets valid UTF-8, a file the bytes as they are.
bool show(std::string_view piece) {
  std::string text(piece);
  if (isatty(STDOUT_FILENO)) {
    text.clear();
    append_replaced(piece, text);
  }
  fmt::print("{}", text);
  std::fflush(stdout);
  return true;
}

}  // namespace

int generate(Communicator& world, const std::filesystem::path& checkpoint, const std::vector<Prompt>& prompts,
             const Sampling& sampling, bool jsonl) {
  const bool streams =
      !jsonl && world.size() == 1 && prompts.size() == 1 && sampling.samples == 1 && sampling.beams == 0;
  // Whole completions travel as lines; texts that are not UTF-8 must survive, so only --jsonl prints JSON.
  Json mine = {{"lines", Json::array()}};
  together(world, [&] {
    check(sampling);
    std::vector<Prompt> share;
    for (size_t p = world.rank(); p < prompts.size(); p += world.size()) share.push_back(prompts[p]);
    Session session(checkpoint);
    for (const Completion& completion : session.generate(share, sampling, streams ? show : Generator::Listener{}))
      mine["lines"].push_back(jsonl ? dump(to_json(completion)) : completion.text);
    const Speed& speed = session.speed();
    mine["speed"] = {speed.tokens, speed.beyond, speed.seconds, session.longest()};
  });
  const std::vector<Json> by_rank = gather_json(world, mine);
  if (world.rank() != 0) return 0;
  const auto samples = static_cast<size_t>(sampling.samples), ranks = by_rank.size();
  for (size_t p = 0; p < prompts.size(); ++p)
    for (size_t s = 0; s < samples; ++s)
      fmt::print("{}\n",
                 streams ? "" : by_rank[p % ranks]["lines"][p / ranks * samples + s].get_ref<const std::string&>());
  std::fflush(stdout);
  Speed all;
  for (const Json& rank : by_rank) {
    all.tokens += rank["speed"][0].get<int64_t>();
    all.beyond += rank["speed"][1].get<int64_t>();
    all.seconds = std::max(all.seconds, rank["speed"][2].get<double>());
  }
  all.tell(mine["speed"][3].get<int64_t>());
  return 0;
}

int generate_interactively(Communicator& world, const std::filesystem::path& checkpoint, const Sampling& sampling) {
  std::unique_ptr<Session> session;
  together(world, [&] {
    check(sampling);
    if (world.size() > 1) throw ConfigError("--interactive runs on one rank: start it without mpirun");
    if (sampling.samples > 1) throw ConfigError("--interactive gives one answer a line: it goes without --samples");
    session = std::make_unique<Session>(checkpoint);
  });
  const bool people = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
  const auto next_line = [&](std::string& line) {
    if (people) fmt::print(stderr, "> ");
    return static_cast<bool>(std::getline(std::cin, line));
  };
  for (std::string line; next_line(line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      const StopSignals interrupt({"INT"});
      const auto answer = session->generate(
          {{line, {}}}, sampling, [&](std::string_view piece) { return show(piece) && interrupt.received() == 0; });
      if (sampling.beams > 0) show(answer.front().text);
      fmt::print("\n");
      std::fflush(stdout);
      session->speed().tell(session->longest());
    } catch (const DataError& error) {
      fmt::print(stderr, "{}\n", error.what());
    }
  }
  if (people) fmt::print(stderr, "\n");
  return 0;
}

}  // namespace lmnet
