// Records out of files on one core: C4 as it is, compressed and laid out in other ways, and going to the end of a
// compressed file. Bytes are those of the text that comes out. LMNET_TEST_DATA names the samples, as in the tests.

#include <benchmark/benchmark.h>

#include <string>

#include "data/record_reader.h"
#include "tests/data/support.h"

namespace {

using namespace lmnet;

constexpr size_t text_bytes = 48 << 20;

std::string quoted(const std::string& text) {
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? "\"\"" : std::string(1, c);
  return cell + "\"\n";
}

struct Files {
  test::TempFolder folder;
  std::string lines, list, csv;

  Files() {
    std::string once, rows;
    for (const auto& file : expand(test::sample("c4/en").string() + "/*.json.gz")) {
      ByteReader bytes(file);
      for (std::string line; bytes.read_line(line);) once += line + "\n";
      for (const Record& record : test::all_records(file, parse_format("c4"))) rows += quoted(record.answer);
    }
    csv = "text\n";
    while (!once.empty() && lines.size() < text_bytes) lines += once, csv += rows;
    list = "[";
    for (size_t at = 0; at < lines.size();) {
      const size_t end = lines.find('\n', at);
      list += (at > 0 ? ",\n" : "") + lines.substr(at, end - at);
      at = end + 1;
    }
    list += "]";
  }
};

void read(benchmark::State& state, const std::string& file) {
  size_t bytes = 0;
  for (auto _ : state) {
    RecordReader reader(file, parse_format("c4"));
    for (Record record; reader.next(record);) bytes += record.bytes();
  }
  state.SetBytesProcessed(static_cast<int64_t>(bytes));
}

void go_to_the_end(benchmark::State& state, const std::string& file) {
  RecordReader reader(file, parse_format("c4"));
  Cursor last;
  for (Cursor here = reader.cursor(); reader.skip(); here = reader.cursor()) last = here;
  for (auto _ : state) {
    RecordReader there(file, parse_format("c4"), last);
    benchmark::DoNotOptimize(there.skip());
  }
  state.SetBytesProcessed(last.offset * state.iterations());
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const Files files;
  const auto add = [&](const std::string& name, const std::string& text) {
    const std::string file = files.folder.write(name, text);
    benchmark::RegisterBenchmark(("read/" + name).c_str(), [file](benchmark::State& state) {
      read(state, file);
    })->Unit(benchmark::kMillisecond);
    return file;
  };
  add("plain.jsonl", files.lines);
  const std::string gzip = add("gzip.json.gz", files.lines), zstd = add("zstd.jsonl.zst", files.lines);
  add("list.json", files.list);
  add("table.csv", files.csv);
  for (const auto& [name, file] : {std::pair{"go/gzip", gzip}, {"go/zstd", zstd}})
    benchmark::RegisterBenchmark(name, [file](benchmark::State& state) {
      go_to_the_end(state, file);
    })->Unit(benchmark::kMillisecond);
  benchmark::RunSpecifiedBenchmarks();
}
