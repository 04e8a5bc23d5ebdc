#include "trainer/distributed_exchange.h"

#include <ATen/ATen.h>

namespace lmnet {
namespace {

/// The message that covers the rows of `share`, and those rows of it.
at::Tensor part_of(const std::vector<Message>& messages, const Share& share) {
  for (const Message& message : messages)
    if (message.share.vertex == share.vertex && message.share.rows.begin <= share.rows.begin &&
        share.rows.end <= message.share.rows.end)
      return message.value.narrow(0, share.rows.begin - message.share.rows.begin, share.rows.size());
  TORCH_CHECK(false, "the plan routes rows that were not sent");
}

}  // namespace

DistributedExchange::DistributedExchange(const Plan& plan, Communicator& group, int64_t rows, int64_t length,
                                         int64_t width, at::ScalarType dtype)
    : plan_(plan), group_(group), rows_(rows), length_(length), width_(width), dtype_(dtype) {}

const DistributedExchange::Gap& DistributedExchange::gap(int level) {
  auto [found, fresh] = gaps_.try_emplace(level);
  Gap& gap = found->second;
  if (!fresh) return gap;
  gap.sent.resize(group_.size());
  gap.arriving.resize(group_.size());
  for (const Route& route : plan_.routes(level, rows_)) {
    if (route.from == group_.rank()) gap.sent[route.to].push_back(route.share);
    if (route.to == group_.rank()) gap.arriving[route.from].push_back(route.share);
  }
  return gap;
}

std::vector<std::vector<at::Tensor>> DistributedExchange::transfer(const std::vector<std::vector<at::Tensor>>& outgoing,
                                                                   const std::vector<std::vector<Share>>& incoming) {
  int me = group_.rank();
  std::vector<int64_t> send_counts(group_.size(), 0), receive_counts(group_.size(), 0);
  int64_t sending = 0, receiving = 0;
  for (int r = 0; r < group_.size(); ++r) {
    if (r == me) continue;
    for (const at::Tensor& part : outgoing[r]) send_counts[r] += part.numel();
    for (const Share& share : incoming[r]) receive_counts[r] += share.rows.size() * length_ * width_;
    sending += send_counts[r];
    receiving += receive_counts[r];
  }
  at::Tensor send = at::empty({sending}, dtype_), receive = at::empty({receiving}, dtype_);
  int64_t offset = 0;
  for (int r = 0; r < group_.size(); ++r)
    for (const at::Tensor& part : outgoing[r]) {
      if (r == me) break;
      send.narrow(0, offset, part.numel()).view(part.sizes()).copy_(part);
      offset += part.numel();
    }
  group_.all_to_all(send, send_counts, receive, receive_counts);
  std::vector<std::vector<at::Tensor>> arrived(group_.size());
  offset = 0;
  for (int r = 0; r < group_.size(); ++r)
    for (const Share& share : incoming[r]) {
      if (r == me) break;
      int64_t count = share.rows.size() * length_ * width_;
      arrived[r].push_back(receive.narrow(0, offset, count).view({share.rows.size(), length_, width_}));
      offset += count;
    }
  arrived[me] = outgoing[me];
  return arrived;
}

std::vector<Message> DistributedExchange::forward(int level, std::vector<Message> messages) {
  const Gap& routes = gap(level);
  std::vector<std::vector<at::Tensor>> outgoing(group_.size());
  for (int r = 0; r < group_.size(); ++r)
    for (const Share& share : routes.sent[r]) outgoing[r].push_back(part_of(messages, share));
  std::vector<std::vector<at::Tensor>> arrived = transfer(outgoing, routes.arriving);
  std::vector<Message> result;
  for (int r = 0; r < group_.size(); ++r)
    for (size_t i = 0; i < routes.arriving[r].size(); ++i) result.push_back({routes.arriving[r][i], arrived[r][i]});
  return result;
}

std::vector<Message> DistributedExchange::backward(int level, std::vector<Message> gradients) {
  const Gap& routes = gap(level);
  std::vector<std::vector<at::Tensor>> outgoing(group_.size());
  size_t next = 0;
  for (int r = 0; r < group_.size(); ++r)
    for (size_t i = 0; i < routes.arriving[r].size(); ++i) outgoing[r].push_back(gradients[next++].value);
  std::vector<std::vector<at::Tensor>> arrived = transfer(outgoing, routes.sent);
  // Each row went to one rank only: the pieces put together are the gradients of what was sent.
  std::vector<Message> result;
  for (int r = 0; r < group_.size(); ++r)
    for (size_t i = 0; i < routes.sent[r].size(); ++i) result.push_back({routes.sent[r][i], arrived[r][i]});
  return result;
}

}  // namespace lmnet
