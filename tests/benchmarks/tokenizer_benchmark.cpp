// Tokenizers on one core over the C4 samples, for each folder of samples: with the cache of pieces that earlier texts
// left (`warm`), and from a tokenizer that has seen nothing yet (`cold`). LMNET_TEST_DATA names the samples, as in the
// tests.

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "data/data_files.h"
#include "tests/data/tokenizer_support.h"

namespace {

using namespace lmnet;

std::vector<std::string> c4_texts() {
  std::vector<std::string> texts;
  for (const auto& file : expand(test::sample("c4/en").string() + "/*.json.gz"))
    for (Record& record : test::all_records(file, parse_format("c4"))) texts.push_back(std::move(record.answer));
  return texts;
}

/// All texts once.
void encode_all(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
  std::vector<int32_t> ids;
  for (const std::string& text : texts) {
    ids.clear();
    tokenizer.encode(text, ids);
    benchmark::DoNotOptimize(ids.data());
  }
}

void measure(benchmark::State& state, const std::string& folder, const std::vector<std::string>& texts, bool cold) {
  auto tokenizer = make_tokenizer(folder);
  encode_all(*tokenizer, texts);
  for (auto _ : state) {
    if (cold) {
      state.PauseTiming();
      tokenizer = make_tokenizer(folder);
      state.ResumeTiming();
    }
    encode_all(*tokenizer, texts);
  }
  size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  state.SetBytesProcessed(static_cast<int64_t>(bytes) * state.iterations());
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const std::vector<std::string> texts = c4_texts();
  for (const auto& folder : test::tokenizer_samples()) {
    for (const bool cold : {false, true}) {
      const std::string name = folder.filename().string() + (cold ? "/cold" : "/warm");
      benchmark::RegisterBenchmark(name.c_str(), [&texts, folder, cold](benchmark::State& state) {
        measure(state, folder.string(), texts, cold);
      })->Unit(benchmark::kMillisecond);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
