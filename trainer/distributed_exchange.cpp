#include "trainer/distributed_exchange.h"

#include <ATen/ATen.h>

#include "trainer/clock.h"

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

Itinerary::Itinerary(const Plan& plan, int rank, int64_t rows) : layout(plan.layout(rank, rows)) {
  const auto ranks = static_cast<size_t>(plan.vertex_parallel());
  for (int level = 0; level + 1 < std::ssize(layout.levels); ++level) {
    Gap gap{std::vector<std::vector<Share>>(ranks), std::vector<std::vector<Share>>(ranks)};
    for (const Route& route : plan.routes(level, rows)) {
      if (route.from == rank) gap.sent[route.to].push_back(route.share);
      if (route.to == rank) gap.arriving[route.from].push_back(route.share);
    }
    gaps.push_back(std::move(gap));
  }
}

DistributedExchange::DistributedExchange(const Itinerary& itinerary, Communicator& group, int64_t length, int64_t width,
                                         at::TensorOptions options, double& waited)
    : itinerary_(itinerary), group_(group), length_(length), width_(width), options_(options), waited_(waited) {}

/// Sends outgoing[r] to each rank r but this one.
DistributedExchange::Transfer DistributedExchange::start(ByPeer outgoing,
                                                         const std::vector<std::vector<Share>>& incoming) {
  const int me = group_.rank();
  Transfer transfer;
  transfer.kept = std::move(outgoing[me]);
  outgoing[me].clear();
  std::vector<int64_t> send_counts(group_.size(), 0), receive_counts(group_.size(), 0);
  int64_t sending = 0, receiving = 0;
  for (int r = 0; r < group_.size(); ++r) {
    if (r == me) continue;
    for (const at::Tensor& part : outgoing[r]) send_counts[r] += part.numel();
    for (const Share& share : incoming[r]) receive_counts[r] += share.rows.size() * length_ * width_;
    sending += send_counts[r];
    receiving += receive_counts[r];
  }
  const at::Tensor send = at::empty({sending}, options_);
  transfer.received = at::empty({receiving}, options_);
  int64_t offset = 0;
  for (const std::vector<at::Tensor>& parts : outgoing)
    for (const at::Tensor& part : parts) {
      send.narrow(0, offset, part.numel()).view(part.sizes()).copy_(part);
      offset += part.numel();
    }
  transfer.work = group_.start_all_to_all(send, send_counts, transfer.received, receive_counts);
  return transfer;
}

/// What came, peer by peer, with its share.
std::vector<Message> DistributedExchange::finish(Transfer transfer, const std::vector<std::vector<Share>>& incoming) {
  const auto start = Clock::now();
  transfer.work.wait();
  waited_ += seconds_since(start);
  std::vector<Message> messages;
  int64_t offset = 0;
  for (int r = 0; r < group_.size(); ++r)
    for (size_t i = 0; i < incoming[r].size(); ++i) {
      const Share& share = incoming[r][i];
      if (r == group_.rank()) {
        messages.push_back({share, transfer.kept[i]});
        continue;
      }
      const int64_t count = share.rows.size() * length_ * width_;
      messages.push_back(
          {share, transfer.received.narrow(0, offset, count).view({share.rows.size(), length_, width_})});
      offset += count;
    }
  return messages;
}

void DistributedExchange::start_forward(int level, std::vector<Message> messages) {
  const Itinerary::Gap& gap = itinerary_.gaps[level];
  ByPeer outgoing(group_.size());
  for (int r = 0; r < group_.size(); ++r)
    for (const Share& share : gap.sent[r]) outgoing[r].push_back(part_of(messages, share));
  under_way_[level] = start(std::move(outgoing), gap.arriving);
}

std::vector<Message> DistributedExchange::finish_forward(int level) {
  return finish(std::move(under_way_[level]), itinerary_.gaps[level].arriving);
}

void DistributedExchange::start_backward(int level, std::vector<Message> gradients) {
  const Itinerary::Gap& gap = itinerary_.gaps[level];
  ByPeer outgoing(group_.size());
  size_t next = 0;
  for (int r = 0; r < group_.size(); ++r)
    for (size_t i = 0; i < gap.arriving[r].size(); ++i) outgoing[r].push_back(gradients[next++].value);
  under_way_[level] = start(std::move(outgoing), gap.sent);
}

// Each row went to one rank only: the pieces put together are the gradients of what was sent.
std::vector<Message> DistributedExchange::finish_backward(int level) {
  return finish(std::move(under_way_[level]), itinerary_.gaps[level].sent);
}

}  // namespace lmnet
