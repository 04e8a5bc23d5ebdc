#include "launch/sweep/process.h"

#include <gmock/gmock.h>

#include "model/graph/errors.h"

namespace lmnet::sweep {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(ShellWords, are_what_a_shell_makes_of_a_text) {
  EXPECT_THAT(shell_words(""), IsEmpty());
  EXPECT_THAT(shell_words("--partition=gpu  --comment='two words' -n1"),
              ElementsAre("--partition=gpu", "--comment=two words", "-n1"));
  EXPECT_THAT(shell_words("--comment=\"\" ''"), ElementsAre("--comment=", ""));
  EXPECT_THAT(shell_words("$(echo a warning >&2) -n1"), ElementsAre("-n1"));
}

TEST(ShellWords, refuse_what_the_shell_refuses) {
  EXPECT_THROW(shell_words("--comment='two words"), ConfigError);
}

TEST(ShellText, has_quotes_where_a_shell_needs_them) {
  EXPECT_EQ(shell_text({"lmnet", "sweep", "a.yaml", "run.dir=/tmp/my runs", "data.train[0].path=it's", ""}),
            "lmnet sweep a.yaml 'run.dir=/tmp/my runs' 'data.train[0].path=it'\\''s' ''");
}

}  // namespace
}  // namespace lmnet::sweep
