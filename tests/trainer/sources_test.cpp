#include "trainer/sources.h"

#include <gmock/gmock.h>

#include "model/graph/errors.h"
#include "tests/data/support.h"

namespace lmnet {
namespace {

using test::TempFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SourcesTest : public ::testing::Test {
 protected:
  SourcesTest() {
    folder_.write("sources.yaml",
                  "fruit: {path: " + folder_.path("fruit.jsonl") + ", format: mine, columns: {q: question}}\n");
    folder_.write("formats.yaml", "mine: {prompt: \"{q}:\", answer: \"{a}\"}\n");
    folder_.write("fruit.jsonl", "{\"question\": \"A fruit\", \"a\": \"fig\"}\n");
    folder_.write("text.jsonl", "{\"text\": \"long\"}\n");
  }

  DataConfig data(const std::string& train, const std::string& more = "") const {
    const std::string files =
        "formats: " + folder_.path("formats.yaml") + ", registry: " + folder_.path("sources.yaml") + ", ";
    return parse_config("data: {" + files + "train: " + train + more + "}", "x.yaml").data;
  }
  std::vector<Source> found(const std::string& train, const std::string& more = "") const {
    const DataConfig config = data(train, more);
    return sources(config, config.train);
  }
  std::string fault(const std::string& train) const {
    try {
      found(train);
    } catch (const ConfigError& error) {
      return error.what();
    }
    return "no error";
  }

  TempFolder folder_;
};

TEST_F(SourcesTest, have_formats_paths_and_columns_of_their_own_or_by_name) {
  const auto all = found(
      "[{name: fruit, weight: 2}, {path: [a, b], format: mine}, {path: c, format: {answer: '{z}'}, "
      "epochs: 3}, {path: d, format: c4, columns: {text: body}}]");
  ASSERT_THAT(all, SizeIs(4));
  EXPECT_EQ(all[0].name, "fruit");
  EXPECT_EQ(all[0].path.text(), folder_.path("fruit.jsonl"));
  EXPECT_EQ(all[0].weight, 2);
  const Record record = test::all_records(folder_.path("fruit.jsonl"), all[0].format).at(0);
  EXPECT_EQ(record.prompt + record.answer, "A fruit:fig");
  EXPECT_THAT(all[1].path.all(), ElementsAre("a", "b"));
  EXPECT_THAT(all[2].format.names(), ElementsAre("z"));
  EXPECT_EQ(all[2].epochs, 3);
  EXPECT_THAT(all[3].format.names(), ElementsAre("body"));
  EXPECT_FALSE(all[3].format.bad_records());
  EXPECT_EQ(found("[{name: fruit}]", ", on_bad_record: skip, bad_record_limit: 7")[0].format.bad_records(), 7);
}

TEST_F(SourcesTest, that_are_not_to_be_found_are_told_with_their_place) {
  EXPECT_THAT(fault("[{name: friut}]"), AllOf(HasSubstr("x.yaml:1: data.train[0].name: there is no source \"friut\""),
                                              HasSubstr("mean \"fruit\"")));
  EXPECT_THAT(
      fault("[{path: a, format: mien}]"),
      AllOf(HasSubstr("x.yaml:1: data.train[0].path: there is no format \"mien\""), HasSubstr("mean \"mine\"")));
  EXPECT_THAT(fault("[{path: a, format: c4, columns: {txt: b}}]"),
              HasSubstr("x.yaml:1: data.train[0].path: the format c4 reads no field \"txt\""));
  EXPECT_THAT(fault("[{path: a, format: {answr: b}}]"), HasSubstr("answr is not known"));
  const DataConfig config = parse_config("data: {train: [{name: fruit}]}", "x.yaml").data;
  EXPECT_THROW(sources(config, config.train), ConfigError);
}

TEST_F(SourcesTest, without_files_are_told_with_their_place) {
  const auto missing = [&](const std::string& train, const std::string& more = "") -> std::string {
    try {
      check_files(data(train, more));
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(missing("[{name: fruit}, {path: none.jsonl, format: c4}]"),
            "x.yaml:1: data.train[1].path: none.jsonl: there is no such file");
  EXPECT_EQ(missing("[{name: fruit}]", ", validation: [{path: 'none*.gz', format: c4}]"),
            "x.yaml:1: data.validation[0].path: none*.gz: no file has such a name");
}

TEST_F(SourcesTest, warn_of_files_that_are_trained_and_evaluated_on) {
  const std::string text = folder_.path("text.jsonl");
  EXPECT_THAT(check_files(data("[{path: " + text + ", format: c4}]", ", validation: [{name: fruit}]")), IsEmpty());
  EXPECT_THAT(check_files(data("[{path: " + folder_.path("") + ", format: c4}]", ", validation: [{name: fruit}]")),
              ElementsAre(HasSubstr("data.validation reads 1 of the files that data.train reads (" +
                                    folder_.path("fruit.jsonl"))));
  folder_.write_bytes("broken.json.gz", "no gzip");
  EXPECT_THROW(check_files(data("[{path: " + folder_.path("*.gz") + ", format: c4}]")), DataError);
}

}  // namespace
}  // namespace lmnet
