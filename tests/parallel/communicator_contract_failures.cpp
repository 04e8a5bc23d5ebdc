#include <ATen/ATen.h>
#include <fmt/format.h>

#include <stdexcept>
#include <thread>

#include "parallel/errors.h"
#include "tests/parallel/communicator_contract.h"
#include "tests/parallel/communicator_contract_data.h"

namespace lmnet::testing {
namespace {

using namespace std::chrono_literals;

/// Runs `call` until it throws a CommunicationError and returns that one's text.
template <class Call>
std::string failure_of(Call call) {
  try {
    for (;;) {
      call();
    }
  } catch (const CommunicationError& error) {
    return error.what();
  }
}

void require_in(const std::string& text, const std::string& part) {
  require(text.find(part) != text.npos, fmt::format("'{}' lacks '{}'", text, part));
}

template <class Call>
void require_rank_failed(Call call, int rank, int code, const std::string& cause) {
  try {
    call();
  } catch (const RankFailed& error) {
    require(error.rank() == rank && error.code() == code && error.what() == cause,
            fmt::format("rank {} failed with {}: '{}'", error.rank(), error.code(), error.what()));
    return;
  }
  throw std::runtime_error("no RankFailed");
}

void a_failure_reaches_present_and_later_waits_of_all_groups(Communicator& world, at::Device device) {
  const int last = world.size() - 1;
  const std::unique_ptr<Communicator> queue = world.fork();
  const std::unique_ptr<Communicator> part = world.split(0);
  at::Tensor tensor = at::ones({10}, at::TensorOptions(device));
  Work early;
  if (world.rank() == last) {
    std::this_thread::sleep_for(50ms);
    world.fail("the cause", 3);
  } else {
    early = queue->start_all_reduce(tensor);
  }
  require_rank_failed([&] { world.barrier(); }, last, 3, "the cause");
  if (world.rank() != last) {
    require_rank_failed([&] { early.wait(); }, last, 3, "the cause");
    require(early.done(), "a work that failed has ended");
  }
  require_rank_failed([&] { queue->barrier(); }, last, 3, "the cause");
  require_rank_failed([&] { part->all_reduce(tensor); }, last, 3, "the cause");
}

void the_first_cause_stays(Communicator& world, at::Device) {
  if (world.rank() == 0) {
    world.fail("first", 3);
  } else {
    require_rank_failed([&] { world.barrier(); }, 0, 3, "first");
    world.fail("second", 5);
  }
  require_rank_failed([&] { world.barrier(); }, 0, 3, "first");
}

void a_wait_beyond_the_time_out_names_who_is_missing(Communicator& world, at::Device device) {
  const int late = world.size() - 1;
  world.enter("update 12", 300ms);
  at::Tensor tensor = at::ones({10}, at::TensorOptions(device));
  if (world.rank() == late) {
    std::this_thread::sleep_for(700ms);
  }
  // The late one hears it from the others.
  const std::string text = failure_of([&] { world.all_reduce(tensor); });
  require(text.find("rank ") == 0 && text.find(fmt::format("rank {}", late)) != 0, "who says it: " + text);
  require_in(text, ": update 12: all_reduce: no answer for ");
  require_in(text, "s (since ");
  require_in(text, fmt::format("from rank {}", late));
  require_in(text, "look at what they report, or give parallel.timeout more if they are slow");
}

void counts_that_disagree_are_named_on_every_rank(Communicator& world, at::Device device) {
  const at::TensorOptions options(device);
  const std::vector<int64_t> ones(world.size(), 1);
  std::vector<int64_t> counts = ones;
  counts[0] += world.rank() == 1;
  const at::Tensor send = at::zeros({world.size()}, options);
  at::Tensor receive = at::zeros({world.size() + (world.rank() == 1)}, options);
  const std::string text = failure_of([&] {
    world.all_to_all(send, ones, receive, counts);
    world.barrier();
  });
  require_in(text, "all_to_all: ");
  require_in(text, "rank 0 sends 4 bytes to rank 1, which expects 8");
}

constexpr ContractCase failure_cases[] = {
    {"a_failure_reaches_present_and_later_waits_of_all_groups", a_failure_reaches_present_and_later_waits_of_all_groups,
     2},
    {"the_first_cause_stays", the_first_cause_stays, 2},
    {"a_wait_beyond_the_time_out_names_who_is_missing", a_wait_beyond_the_time_out_names_who_is_missing, 2},
    {"counts_that_disagree_are_named_on_every_rank", counts_that_disagree_are_named_on_every_rank, 2},
};

}  // namespace

std::span<const ContractCase> communicator_failures() {
  return failure_cases;
}

}  // namespace lmnet::testing
