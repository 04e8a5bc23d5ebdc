#include "trainer/terminal.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "trainer/console.h"

namespace lmnet {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr TextStyle kPlain{true, false}, kAscii{false, false};

/// A terminal of which a test sees what is written to it.
class PseudoTerminal {
 public:
  PseudoTerminal(unsigned short columns, unsigned short rows) {
    winsize size{rows, columns, 0, 0};
    if (openpty(&master_, &slave_, nullptr, nullptr, &size) != 0) std::abort();
    fcntl(master_, F_SETFL, O_NONBLOCK);
  }
  ~PseudoTerminal() {
    close(master_);
    close(slave_);
  }
  Terminal terminal() const { return {slave_, false}; }
  void resize(unsigned short columns) const {
    winsize size{24, columns, 0, 0};
    ioctl(slave_, TIOCSWINSZ, &size);
  }
  std::string written() const {
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t size = 0; (size = read(master_, buffer.data(), buffer.size())) > 0;)
      text.append(buffer.data(), static_cast<size_t>(size));
    return text;
  }

 private:
  int master_ = -1, slave_ = -1;
};

/// An environment variable, as long as the test goes.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    value == nullptr ? unsetenv(name) : setenv(name, value, 1);
  }
  ~Variable() { old_ ? setenv(name_, old_->c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

TEST(TextStyle, follows_the_locale_and_NO_COLOR) {
  const Variable all("LC_ALL", nullptr), type("LC_CTYPE", nullptr), no_color("NO_COLOR", nullptr);
  for (const auto& [lang, unicode] : {std::pair("C.UTF-8", true), {"en_US.utf8", true}, {"C", false}, {"", false}}) {
    const Variable language("LANG", lang);
    EXPECT_EQ(TextStyle::of_environment().unicode, unicode) << lang;
    EXPECT_TRUE(TextStyle::of_environment().colors);
  }
  const Variable set("NO_COLOR", "1"), wins("LC_ALL", "POSIX"), loses("LANG", "C.UTF-8");
  EXPECT_FALSE(TextStyle::of_environment().colors);
  EXPECT_FALSE(TextStyle::of_environment().unicode);
}

TEST(Text, is_measured_and_cut_in_columns) {
  EXPECT_EQ(columns_of("a·b"), 3);
  EXPECT_EQ(columns_of("\x1b[32mdone\x1b[0m"), 4);
  EXPECT_EQ(fit("abc", 3), "abc");
  EXPECT_EQ(fit("abcd", 3), "ab…");
  EXPECT_EQ(fit("··· ·", 3), "··…");
  EXPECT_EQ(fit("\x1b[32mdone\x1b[0m", 3), "\x1b[32mdo…\x1b[0m");
  EXPECT_EQ(fit("abc", 0), "");
}

TEST(Text, has_stand_ins_in_ASCII) {
  EXPECT_EQ(in_ascii("a · b → c é"), "a - b -> c ?");
}

TEST(LiveLines, are_drawn_anew_in_place_with_text_going_by_above) {
  const PseudoTerminal screen(40, 24);
  const Terminal terminal = screen.terminal();
  LiveLines live(terminal, kPlain);
  live.show({"one", "two"});
  EXPECT_EQ(screen.written(), "one\r\ntwo");
  live.print("text");
  EXPECT_EQ(screen.written(), "\r\x1b[A\x1b[Jtext\r\none\r\ntwo");
  live.clear();
  EXPECT_EQ(screen.written(), "\r\x1b[A\x1b[J");
  live.print("end\n");
  EXPECT_EQ(screen.written(), "end\r\n");
}

TEST(LiveLines, fit_the_terminal_as_it_is_now) {
  const PseudoTerminal screen(10, 4);
  const Terminal terminal = screen.terminal();
  LiveLines live(terminal, kPlain);
  live.show({"123456789012", "b", "c", "d", "e"});
  EXPECT_EQ(screen.written(), "12345678…\r\nb\r\nc");
  screen.resize(6);
  live.show({"123456789012"});
  EXPECT_THAT(screen.written(), EndsWith("1234…"));
}

TEST(LiveLines, speak_ASCII_where_the_locale_does) {
  const PseudoTerminal screen(8, 24);
  const Terminal terminal = screen.terminal();
  LiveLines live(terminal, kAscii);
  live.print("a · b");
  live.show({"a · b · c"});
  EXPECT_EQ(screen.written(), "a - b\r\na - b ~");
}

TEST(Terminal, is_found_by_the_name_that_mpirun_hands_on_on_this_host_only) {
  const PseudoTerminal screen(40, 24);
  std::array<char, 256> host{}, path{};
  gethostname(host.data(), host.size() - 1);
  const Terminal terminal = screen.terminal();
  const Variable kind("TERM", "xterm");
  if (isatty(STDOUT_FILENO)) GTEST_SKIP() << "standard output is a terminal itself";
  const Variable nowhere("LMNET_TERMINAL", nullptr);
  EXPECT_FALSE(Terminal::find());
  {
    const Variable file("LMNET_TERMINAL", (std::string(host.data()) + ":/dev/null").c_str());
    EXPECT_FALSE(Terminal::find());
    const Variable elsewhere("LMNET_TERMINAL", "other-host:/dev/tty");
    EXPECT_FALSE(Terminal::find());
  }
  int master = -1, slave = -1;
  ASSERT_EQ(openpty(&master, &slave, path.data(), nullptr, nullptr), 0);
  const Variable named("LMNET_TERMINAL", (std::string(host.data()) + ":" + path.data()).c_str());
  EXPECT_TRUE(Terminal::find());
  const Variable dumb("TERM", "dumb");
  EXPECT_FALSE(Terminal::find());
  close(master);
  close(slave);
}

TEST(RunBar, leaves_out_what_matters_least_where_there_is_no_room) {
  const RunProgress progress{500, 2000, 2.34123, 8529, 725};
  EXPECT_EQ(run_bar(progress, 200, kPlain),
            "update 500/2000 ███████░░░░░░░░░░░░░░░░░░░░░░░ 25 % · loss 2.3412 · 8529 tok/s · 12 min 05 s left");
  EXPECT_EQ(run_bar(progress, 80, kAscii),
            "update 500/2000 [##.........] 25 % - loss 2.3412 - 8529 tok/s - 12 min 05 s left");
  EXPECT_THAT(run_bar(progress, 70, kPlain), AllOf(HasSubstr("loss"), Not(HasSubstr("tok/s"))));
  EXPECT_THAT(run_bar(progress, 45, kPlain), AllOf(HasSubstr("left"), Not(HasSubstr("loss"))));
  for (int columns = 0; columns < 130; ++columns)
    for (const TextStyle& style : {kPlain, kAscii, TextStyle{true, true}})
      EXPECT_LE(columns_of(run_bar(progress, columns, style)), columns) << columns;
}

TEST(TaskBar, shows_how_much_of_all_is_done_or_only_how_much) {
  EXPECT_EQ(task_bar("saving", 10, 40, 38, kPlain), "saving 10/40 █████░░░░░░░░░░░░░░░ 25 %");
  EXPECT_EQ(task_bar("reading", 1200, 0, 60, kPlain), "reading 1200");
  for (int columns = 0; columns < 60; ++columns)
    EXPECT_LE(columns_of(task_bar("saving", 10, 40, columns, kAscii)), columns);
}

TEST(Console, shows_bars_below_the_lines_that_stay) {
  const PseudoTerminal screen(80, 24);
  {
    Console console(screen.terminal(), kPlain);
    console.say("begin");
    console.progress({1, 2, 3.5, 100, 60});
    EXPECT_THAT(screen.written(),
                AllOf(StartsWith("begin\r\n"), HasSubstr("update 1/2"), HasSubstr("1 min 00 s left")));
    console.step("update 1/2 · loss 3.5");  // the bar tells it
    EXPECT_EQ(screen.written(), "");
    const Advance saving = console.task("saving");
    usleep(150'000);
    saving(1, 2);
    EXPECT_THAT(screen.written(), HasSubstr("\r\n  saving 1/2"));
    saving(2, 2);
    EXPECT_THAT(screen.written(), Not(HasSubstr("saving")));
  }
  EXPECT_THAT(screen.written(), EndsWith("\x1b[J"));
}

TEST(Console, prints_plain_lines_where_there_is_no_terminal) {
  ::testing::internal::CaptureStdout();
  Console console(std::nullopt, kPlain);
  console.say("begin");
  console.progress({1, 2, 3.5, 100, 60});
  console.step("update 1/2 · loss 3.5");
  console.task("saving")(1, 2);
  EXPECT_EQ(::testing::internal::GetCapturedStdout(), "begin\nupdate 1/2 · loss 3.5\n");
}

}  // namespace
}  // namespace lmnet
