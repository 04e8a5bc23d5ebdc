#include "trainer/generation/generate.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <set>

#include "data/errors.h"
#include "model/graph/errors.h"
#include "tests/trainer/saving/helpers.h"
#include "trainer/together.h"

namespace lmnet {
namespace {

using ::testing::HasSubstr;
using testing::TinyNetwork;

const std::vector<Prompt> prompts = {{"Once upon", {}}, {"a", {}}, {"", {1, 2, 3, 4, 200, 257}}, {"", {}}, {"a", {}}};

/// The most likely next ids, each by one forward of a single row.
std::vector<int32_t> argmax_walk(SavedNetwork& network, std::vector<int32_t> ids, int64_t count) {
  std::vector<int32_t> added;
  for (; count > 0; --count) {
    at::Tensor tokens = at::tensor(std::vector<int64_t>(ids.begin(), ids.end())).unsqueeze(0);
    at::Tensor hidden = network.engine().hidden({tokens, {}, {}})[0][-1].unsqueeze(0);
    ids.push_back(network.engine().logits(hidden).argmax().item<int32_t>());
    added.push_back(ids.back());
    if (ids.back() == network.tokenizer().end_of_text()) break;
  }
  return added;
}

std::string error_text(const std::string& lines) {
  TemporaryFolder folder;
  std::ofstream(folder / "p.jsonl") << lines;
  try {
    read_prompts(folder / "p.jsonl");
  } catch (const DataError& error) {
    return std::string(error.what()).substr(folder.path().string().size() + 1);
  }
  return "no error";
}

TEST(Generate, GreedyIsTheMostLikelyTokenAgainAndAgain) {
  TinyNetwork tiny;
  const auto completions = Generator(tiny.network).generate(prompts, {.max_new_tokens = 20});
  ASSERT_EQ(completions.size(), prompts.size());
  EXPECT_EQ(completions[0].ids, argmax_walk(tiny.network, {'O', 'n', 'c', 'e', ' ', 'u', 'p', 'o', 'n'}, 20));
  EXPECT_EQ(completions[1].ids, argmax_walk(tiny.network, {'a'}, 20));
  EXPECT_EQ(completions[2].ids, argmax_walk(tiny.network, {1, 2, 3, 4, 200, 257}, 20));
  EXPECT_EQ(completions[3].ids, argmax_walk(tiny.network, {256}, 20));
  EXPECT_EQ(completions[0].text, tiny.network.tokenizer().decode(completions[0].ids));
  EXPECT_EQ(completions[0].prompt, "Once upon");
}

TEST(Generate, LogprobIsTheSumOverTheNewTokens) {
  TinyNetwork tiny;
  const Completion completion = Generator(tiny.network).generate({prompts[1]}, {.max_new_tokens = 5}).front();
  std::vector<int64_t> ids = {'a'};
  ids.insert(ids.end(), completion.ids.begin(), completion.ids.end());
  const at::Tensor row = at::tensor(ids).unsqueeze(0), inputs = row.narrow(1, 0, row.size(1) - 1);
  const at::Tensor targets = row.narrow(1, 1, row.size(1) - 1).contiguous();
  const LossSum sum = tiny.network.engine().loss({inputs.contiguous(), targets, at::ones_like(targets, at::kBool)});
  EXPECT_NEAR(completion.logprob, -sum.loss, 1e-4);
}

TEST(Generate, ManyPromptsGiveWhatEachGivesAlone) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  for (const Sampling& sampling : {Sampling{.max_new_tokens = 12}, Sampling{.max_new_tokens = 12,
                                                                   .temperature = 1,
                                                                   .top_k = 50,
                                                                   .top_p = 0.95,
                                                                   .repetition_penalty = 1.1,
                                                                   .seed = 5,
                                                                   .samples = 2}}) {
    const auto together = generator.generate(prompts, sampling);
    for (size_t p = 0; p < prompts.size(); ++p) {
      const auto alone = generator.generate({prompts[p]}, sampling);
      for (size_t s = 0; s < alone.size(); ++s) {
        EXPECT_EQ(together[p * alone.size() + s].ids, alone[s].ids);
        EXPECT_EQ(together[p * alone.size() + s].logprob, alone[s].logprob);
      }
    }
  }
}

TEST(Generate, TopKOfOneIsGreedyAndSeedsDiffer) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  const auto ids = [&](const Sampling& sampling) { return generator.generate({prompts[0]}, sampling).front().ids; };
  const auto greedy = ids({.max_new_tokens = 20});
  EXPECT_EQ(ids({.max_new_tokens = 20, .temperature = 3, .top_k = 1}), greedy);
  EXPECT_EQ(ids({.max_new_tokens = 20, .temperature = 1e-6}), greedy);
  const Sampling hot{.max_new_tokens = 20, .temperature = 3}, other{.max_new_tokens = 20, .temperature = 3, .seed = 2};
  EXPECT_EQ(ids(hot), ids(hot));
  EXPECT_NE(ids(hot), ids(other));
}

TEST(Generate, SamplesOfAPromptDiffer) {
  TinyNetwork tiny;
  const auto samples =
      Generator(tiny.network).generate({prompts[0]}, {.max_new_tokens = 20, .temperature = 3, .samples = 2});
  ASSERT_EQ(samples.size(), 2U);
  EXPECT_NE(samples[0].ids, samples[1].ids);
}

TEST(Generate, SamplesAreThoseOfSeparateRuns) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  Sampling sampling{.max_new_tokens = 15, .temperature = 2, .seed = 9, .samples = 40};  // more than decode together
  const auto many = generator.generate({prompts[0], prompts[2]}, sampling);
  for (const int count : {1, 3}) {
    sampling.samples = count;
    const auto few = generator.generate({prompts[2]}, sampling);
    for (int s = 0; s < count; ++s) {
      EXPECT_EQ(few[s].ids, many[40 + s].ids);
      EXPECT_EQ(few[s].logprob, many[40 + s].logprob);
    }
  }
}

TEST(Generate, NoNgramOfNewTokensComesTwice) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  std::set<std::vector<int32_t>> pairs;
  const auto ids = generator.generate({prompts[0]}, {.max_new_tokens = 60, .no_repeat_ngram = 2}).front().ids;
  for (size_t i = 0; i + 2 <= ids.size(); ++i) EXPECT_TRUE(pairs.insert({ids[i], ids[i + 1]}).second) << i;
}

TEST(Generate, OneBeamWithoutPenaltyIsGreedy) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  const Completion greedy = generator.generate({prompts[0]}, {.max_new_tokens = 12}).front();
  const Completion beam = generator.generate({prompts[0]}, {.max_new_tokens = 12, .beams = 1}).front();
  EXPECT_EQ(beam.ids, greedy.ids);
  EXPECT_EQ(beam.text, greedy.text);
  EXPECT_NEAR(beam.logprob, greedy.logprob, 1e-9);
  EXPECT_GE(generator.generate({prompts[0]}, {.max_new_tokens = 12, .beams = 8, .length_penalty = 0}).front().logprob,
            greedy.logprob);
}

TEST(Generate, BeamsEndAtStopTextsOfOneToken) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  const Completion whole = generator.generate({prompts[0]}, {.max_new_tokens = 6, .beams = 1}).front();
  const std::string stop(1, static_cast<char>(whole.ids[2]));
  const Completion cut =
      generator.generate({prompts[0]}, {.max_new_tokens = 6, .stop = {stop}, .beams = 1, .length_penalty = 0}).front();
  EXPECT_EQ(cut.ids, std::vector<int32_t>(whole.ids.begin(), whole.ids.begin() + 3));
  EXPECT_EQ(cut.text, whole.text.substr(0, 2));
  EXPECT_TRUE(cut.stopped);
  EXPECT_THROW(generator.generate({prompts[0]}, {.stop = {"ab"}, .beams = 2}), ConfigError);
}

/// The pieces that a listener hears.
std::vector<std::string> pieces_of(Generator& generator, const Sampling& sampling) {
  std::vector<std::string> pieces;
  generator.generate({prompts[0]}, sampling, [&](std::string_view piece) {
    pieces.emplace_back(piece);
    return true;
  });
  return pieces;
}

TEST(Generate, PiecesAddUpToTheTextWithoutWhatAStopTextTakesBack) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  const Completion whole = generator.generate({prompts[0]}, {.max_new_tokens = 20}).front();
  for (const std::string& stop : {std::string("no such text"), whole.text.substr(6, 3), whole.text.substr(19) + "x"}) {
    const Sampling sampling{.max_new_tokens = 20, .stop = {stop}};
    const auto pieces = pieces_of(generator, sampling);
    std::string joined;
    for (const std::string& piece : pieces) joined += piece;
    EXPECT_EQ(joined, generator.generate({prompts[0]}, sampling).front().text);
  }
}

TEST(Generate, PiecesAreWholeCharacters) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  // A head that likes to begin characters of two bytes, first of all.
  const std::vector<int32_t> first = generator.generate({prompts[0]}, {.max_new_tokens = 1}).front().ids;
  Optimizer& optimizer = tiny.network.engine().optimizer();
  at::Tensor embedding = optimizer.state("embeddings.tokens.weight").value.clone();
  embedding[0xC3] = embedding[first[0]] * 3;
  optimizer.assign("embeddings.tokens.weight", embedding);
  const auto pieces = pieces_of(generator, {.max_new_tokens = 12});
  ASSERT_EQ(pieces.size(), 12U);
  EXPECT_EQ(pieces[0], "");  // the beginning of a character
  ASSERT_FALSE(pieces[1].empty());
  EXPECT_EQ(pieces[1].front(), '\xC3');  // with its end, or because the end did not come
}

TEST(Generate, AListenerEndsTheCompletion) {
  TinyNetwork tiny;
  int heard = 0;
  const auto completions =
      Generator(tiny.network).generate({prompts[0]}, {.max_new_tokens = 20}, [&](std::string_view) {
        return ++heard < 4;
      });
  EXPECT_EQ(completions.front().ids.size(), 4U);
  EXPECT_FALSE(completions.front().stopped);
}

TEST(Generate, ChatsAreContinuedByTheAssistant) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  const std::string chat = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
  const Completion completion = generator.generate({{"", {}, {{"user", "Hi"}}}}, {.max_new_tokens = 8}).front();
  EXPECT_EQ(completion.ids, generator.generate({{chat, {}}}, {.max_new_tokens = 8}).front().ids);
  EXPECT_EQ(completion.prompt, chat);
}

TEST(Generate, StopTextsEndATextAndAreCutOff) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  const Completion whole = generator.generate({prompts[0]}, {.max_new_tokens = 20}).front();
  ASSERT_GE(whole.text.size(), 6U);
  const std::string stop = whole.text.substr(4, 2);
  const size_t begin = whole.text.find(stop);
  const Completion cut =
      generator.generate({prompts[0]}, {.max_new_tokens = 20, .stop = {"no such text", stop}}).front();
  EXPECT_EQ(cut.text, whole.text.substr(0, begin));
  EXPECT_EQ(cut.ids.size(), begin + stop.size());
  EXPECT_TRUE(cut.stopped);
}

TEST(Generate, EndOfTextEndsATextAndIsNotPartOfIt) {
  TinyNetwork tiny;
  Generator generator(tiny.network);
  const Completion before = generator.generate({prompts[0]}, {.max_new_tokens = 4}).front();
  EXPECT_FALSE(before.stopped);
  // With a head that prefers the end of text to the first of these tokens.
  Optimizer& optimizer = tiny.network.engine().optimizer();
  at::Tensor embedding = optimizer.state("embeddings.tokens.weight").value.clone();
  embedding[256] = embedding[before.ids[0]] * 3;
  optimizer.assign("embeddings.tokens.weight", embedding);
  const Completion after = generator.generate({prompts[0]}, {.max_new_tokens = 4}).front();
  EXPECT_EQ(after.ids, std::vector<int32_t>{256});
  EXPECT_EQ(after.text, "");
  EXPECT_TRUE(after.stopped);
}

TEST(Generate, AnIdOutsideTheVocabularyIsNamed) {
  TinyNetwork tiny;
  try {
    Generator(tiny.network).generate({prompts[0], {"", {3, 258}}}, {});
    FAIL() << "no error";
  } catch (const DataError& error) {
    EXPECT_STREQ(error.what(), "id 258 is outside the vocabulary of 258");
  }
}

TEST(Generate, RanksPrintTheCompletionsInTheOrderOfThePrompts) {
  TemporaryFolder run;
  testing::save_tiny_network(run.path() / "checkpoints");
  const auto print_on = [&](int ranks) {
    ::testing::internal::CaptureStdout();
    run_ranks(ranks, [&](Communicator& world) {
      generate(world, run.path(), prompts, {.max_new_tokens = 8, .samples = 2}, /*jsonl=*/true);
    });
    std::istringstream printed(::testing::internal::GetCapturedStdout());
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(printed, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  };
  const auto alone = print_on(1);
  ASSERT_EQ(alone.size(), 10U);
  EXPECT_EQ(alone[1]["prompt"], "Once upon");
  EXPECT_EQ(alone[1]["ids"].size(), 8U);
  EXPECT_LT(alone[1]["logprob"].get<double>(), 0);
  EXPECT_TRUE(alone[1]["text"].is_string());
  for (const int ranks : {2, 3, 7}) {
    const auto shared = print_on(ranks);
    ASSERT_EQ(shared.size(), alone.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(shared[i]["prompt"], alone[i]["prompt"]);
      EXPECT_EQ(shared[i]["ids"], alone[i]["ids"]);
    }
  }
}

TEST(Generate, AMissingCheckpointEndsAllRanksWithThree) {
  TemporaryFolder folder;
  run_ranks(2, [&](Communicator& world) {
    try {
      generate(world, folder / "nothing", prompts, {}, false);
      ADD_FAILURE() << "no error";
    } catch (const AgreedError& error) {
      EXPECT_EQ(error.code(), 3);
      EXPECT_THAT(error.what(), HasSubstr("nothing: there is no such checkpoint or run"));
    }
  });
}

std::string answers_to(const std::filesystem::path& checkpoint, const std::string& typed) {
  std::istringstream lines(typed);
  std::streambuf* terminal = std::cin.rdbuf(lines.rdbuf());
  std::cin.clear();
  ::testing::internal::CaptureStdout();
  ::testing::internal::CaptureStderr();
  run_ranks(1, [&](Communicator& world) { generate_interactively(world, checkpoint, {.max_new_tokens = 6}); });
  std::cin.rdbuf(terminal);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), HasSubstr(" tok/s\n"));
  return ::testing::internal::GetCapturedStdout();
}

TEST(Generate, LinesAreAnsweredUntilTheInputEnds) {
  TinyNetwork tiny;
  const auto text = [&](const std::string& prompt) {
    return Generator(tiny.network).generate({{prompt, {}}}, {.max_new_tokens = 6}).front().text + "\n";
  };
  EXPECT_EQ(answers_to(tiny.checkpoint, "Once upon\n\n  \na\nand no end of line"),
            text("Once upon") + text("a") + text("and no end of line"));
}

TEST(Generate, ASingleTextIsPrintedAsItGrows) {
  TinyNetwork tiny;
  ::testing::internal::CaptureStdout();
  run_ranks(1,
            [&](Communicator& world) { generate(world, tiny.checkpoint, {prompts[0]}, {.max_new_tokens = 9}, false); });
  EXPECT_EQ(::testing::internal::GetCapturedStdout(),
            Generator(tiny.network).generate({prompts[0]}, {.max_new_tokens = 9}).front().text + "\n");
}

TEST(Prompts, AreTextsIdsOrChats) {
  TemporaryFolder folder;
  std::ofstream(folder / "p.jsonl") << "{\"prompt\": \"a\\n\", \"id\": 7}\n\n{\"ids\": [1, 2]}\n"
                                       "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}\n";
  const auto read = read_prompts(folder / "p.jsonl");
  ASSERT_EQ(read.size(), 3U);
  EXPECT_EQ(read[0].text, "a\n");
  EXPECT_EQ(read[1].ids, (std::vector<int32_t>{1, 2}));
  ASSERT_EQ(read[2].messages.size(), 1U);
  EXPECT_EQ(read[2].messages[0].role, "user");
  EXPECT_EQ(read[2].messages[0].content, "Hi");
}

TEST(Prompts, BadLinesAreNamed) {
  EXPECT_EQ(error_text("{\"prompt\": \"a\"}\n{\"prompt\": 3}\n"), "p.jsonl:2: \"prompt\" must be a text");
  EXPECT_THAT(error_text("{\"prompt\"\n"), HasSubstr("p.jsonl:1: no JSON object"));
  EXPECT_THAT(error_text("{\"text\": \"a\"}\n"), HasSubstr("p.jsonl:1: a prompt has one of"));
  EXPECT_THAT(error_text("{\"prompt\": \"a\", \"ids\": [1]}\n"), HasSubstr("p.jsonl:1: a prompt has one of"));
  EXPECT_THAT(error_text("{\"messages\": []}\n"), HasSubstr("p.jsonl:1: \"messages\" must be a list"));
  EXPECT_THAT(error_text("{\"messages\": [{\"role\": 1}]}\n"), HasSubstr("p.jsonl:1: \"messages\" must be a list"));
  EXPECT_THAT(error_text("{\"ids\": [-1]}\n"), HasSubstr("p.jsonl:1: \"ids\" must be a list"));
  EXPECT_THAT(error_text("\n"), HasSubstr("p.jsonl: there is no prompt"));
  EXPECT_THROW(read_prompts("/nowhere/p.jsonl"), DataError);
}

}  // namespace
}  // namespace lmnet
