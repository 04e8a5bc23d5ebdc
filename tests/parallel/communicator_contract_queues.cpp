#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <random>
#include <thread>

#include "tests/parallel/communicator_contract.h"
#include "tests/parallel/communicator_contract_data.h"

namespace lmnet::testing {
namespace {

using namespace std::chrono_literals;

void groups_split_by_color_work_on_their_own(Communicator& group, at::Device device) {
  const int color = group.rank() % 2;
  const std::unique_ptr<Communicator> part = group.split(color);
  require(part->size() == (group.size() + 1 - color) / 2 && part->rank() == group.rank() / 2, "place after a split");
  // Unlike numbers of calls in the parts: they must not meet those of the whole.
  for (int call = 0; call <= 10 * color; ++call) {
    start_exchange(*part, 3, at::kFloat, call, device).check("exchange in a part");
  }
  at::Tensor sum = at::full({1}, group.rank(), at::TensorOptions(at::kLong).device(device));
  part->all_reduce(sum);
  int64_t wanted = 0;
  for (int r = color; r < group.size(); r += 2) {
    wanted += r;
  }
  require(sum.item<int64_t>() == wanted, "sum after a split");
  const std::unique_ptr<Communicator> single = part->split(part->rank());
  require(single->size() == 1 && single->rank() == 0, "split of a split");
  start_exchange(group, 3, at::kFloat, 0, device).check("exchange in the whole");
  group.barrier();
}

void overlapping_subgroups_need_their_members_only(Communicator& group, at::Device device) {
  std::vector<Work> works;
  std::vector<at::Tensor> sums;
  for (int r = 0; r + 1 < group.size(); ++r) {
    if (group.rank() == r || group.rank() == r + 1) {
      const std::unique_ptr<Communicator> pair = group.subgroup({r, r + 1});
      require(pair->size() == 2 && pair->rank() == group.rank() - r, "place in a subgroup");
      sums.push_back(at::full({3}, group.rank(), at::TensorOptions(at::kLong).device(device)));
      works.push_back(pair->start_all_reduce(sums.back()));
    }
  }
  int first = std::max(0, group.rank() - 1);
  for (size_t i = 0; i < works.size(); ++i, ++first) {
    works[i].wait();
    require(at::equal(sums[i].cpu(), at::full({3}, 2 * first + 1, at::kLong)), "sum of a pair");
  }
}

void queues_run_beside_each_other(Communicator& group, at::Device device) {
  const std::unique_ptr<Communicator> one = group.fork();
  const std::unique_ptr<Communicator> two = one->fork();
  const at::TensorOptions options = at::TensorOptions(at::kLong).device(device);
  at::Tensor a = at::full({5}, group.rank(), options);
  at::Tensor b = a.clone();
  // The ranks begin with different queues.
  Communicator& mine = group.rank() % 2 == 0 ? *one : *two;
  Communicator& other = group.rank() % 2 == 0 ? *two : *one;
  const Work first = mine.start_all_reduce(a);
  const Work second = other.start_all_reduce(b);
  second.wait();
  first.wait();
  const at::Tensor wanted = at::full({5}, group.size() * (group.size() - 1) / 2, at::kLong);
  require(at::equal(a.cpu(), wanted) && at::equal(b.cpu(), wanted), "sums on two queues");
}

/// A collective of the random schedule: every rank draws the same.
struct Planned {
  int queue, kind;
  int64_t count, seed;
  at::ScalarType type;
  std::vector<int> ranks;
};

std::vector<Planned> draw_schedule(std::mt19937& random, int size, int length) {
  const auto below = [&](int bound) { return static_cast<int>(random() % bound); };
  std::vector<Planned> schedule;
  for (int i = 0; i < length; ++i) {
    Planned planned{.queue = below(3),
                    .kind = below(4),
                    .count = 1 + below(2000),
                    .seed = i,
                    .type = all_types[below(4)],
                    .ranks = {}};
    for (int r = 0; r < size; ++r) {
      if (below(2) == 0) {
        planned.ranks.push_back(r);
      }
    }
    if (planned.ranks.empty()) {
      planned.ranks.push_back(below(size));
    }
    schedule.push_back(std::move(planned));
  }
  return schedule;
}

/// Starts it and returns what waits for it and checks it.
std::function<void()> start_planned(const Planned& planned, Communicator& queue, at::Device device) {
  const std::unique_ptr<Communicator> group = queue.subgroup(planned.ranks);
  if (planned.kind == 3) {
    return [exchange = start_exchange(*group, planned.count % 50, planned.type, planned.seed, device)] {
      exchange.check("exchange of a random schedule");
    };
  }
  const std::vector<at::Tensor> terms = tensors_of(planned.ranks, planned.count, planned.type, planned.seed);
  at::Tensor tensor = terms[group->rank()].clone().to(device);
  Work work;
  at::Tensor wanted;
  if (planned.kind == 0) {
    wanted = plain_sum(terms);
    work = group->start_all_reduce(tensor);
  } else if (planned.kind == 1) {
    wanted = terms.back();
    work = group->start_broadcast(tensor, group->size() - 1);
  } else {
    // Started one upon the other: the queue keeps their order.
    wanted = plain_sum(terms);
    group->start_reduce_scatter(tensor);
    work = group->start_all_gather(tensor);
  }
  return [=] {
    work.wait();
    require(at::equal(tensor.cpu(), wanted), fmt::format("kind {} of a random schedule", planned.kind));
  };
}

void random_schedules_on_many_queues_end_and_are_right(Communicator& group, at::Device device) {
  std::vector<std::unique_ptr<Communicator>> queues;
  for (int i = 0; i < 3; ++i) {
    queues.push_back(group.fork());
  }
  for (unsigned seed = 1; seed <= 4; ++seed) {
    std::mt19937 shared(seed);
    std::mt19937 own(1000 * seed + group.rank());
    std::vector<std::vector<Planned>> mine(queues.size());
    for (Planned& planned : draw_schedule(shared, group.size(), 60)) {
      if (std::ranges::count(planned.ranks, group.rank()) > 0) {
        mine[planned.queue].push_back(std::move(planned));
      }
    }
    std::vector<std::function<void()>> waits;
    std::vector<size_t> next(queues.size(), 0);
    for (size_t left = mine[0].size() + mine[1].size() + mine[2].size(); left > 0;) {
      const size_t queue = own() % queues.size();
      if (next[queue] < mine[queue].size()) {
        waits.push_back(start_planned(mine[queue][next[queue]++], *queues[queue], device));
        --left;
      }
    }
    std::shuffle(waits.begin(), waits.end(), own);
    for (const std::function<void()>& wait : waits) {
      wait();
    }
  }
  group.barrier();
}

void works_end_without_anybody_waiting(Communicator& group, at::Device device) {
  require(Work().done(), "no work is done");
  at::Tensor sum = at::ones({1000}, at::TensorOptions(at::kFloat).device(device));
  const Work work = group.start_all_reduce(sum);
  const Work copy = work;
  while (!work.done()) {
    std::this_thread::yield();
  }
  require(copy.done(), "a copy stands for the same work");
  copy.wait();
  work.wait();
  require(at::equal(sum.cpu(), at::full({1000}, group.size(), at::kFloat)), "sum of a work that ended by itself");
}

void tensors_live_until_the_work_is_done(Communicator& group, at::Device device) {
  const c10::weak_intrusive_ptr<at::TensorImpl> watch = [&] {
    at::Tensor tensor = at::ones({100000}, at::TensorOptions(at::kFloat).device(device));
    group.start_all_reduce(tensor);
    return c10::weak_intrusive_ptr<at::TensorImpl>(tensor.getIntrusivePtr());
  }();
  group.barrier();  // behind it in the queue
  require(device.is_cuda() || watch.expired(), "a work that is done holds its tensor");
}

void slow_ranks_are_waited_for_while_something_moves(Communicator& group, at::Device) {
  group.enter("update 1", 600ms);
  for (int round = 0; round < 3; ++round) {
    if (group.size() > 1 && round % group.size() == group.rank()) {
      std::this_thread::sleep_for(250ms);
    }
    group.barrier();
  }
  group.enter("", 60s);
}

constexpr ContractCase queue_cases[] = {
    {"groups_split_by_color_work_on_their_own", groups_split_by_color_work_on_their_own},
    {"overlapping_subgroups_need_their_members_only", overlapping_subgroups_need_their_members_only},
    {"queues_run_beside_each_other", queues_run_beside_each_other},
    {"random_schedules_on_many_queues_end_and_are_right", random_schedules_on_many_queues_end_and_are_right},
    {"works_end_without_anybody_waiting", works_end_without_anybody_waiting},
    {"slow_ranks_are_waited_for_while_something_moves", slow_ranks_are_waited_for_while_something_moves},
    {"tensors_live_until_the_work_is_done", tensors_live_until_the_work_is_done},
};

}  // namespace

std::span<const ContractCase> communicator_queues() {
  return queue_cases;
}

}  // namespace lmnet::testing
