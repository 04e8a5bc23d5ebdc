#include "parallel/reduction.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "parallel/errors.h"
#include "parallel/pieces.h"

namespace lmnet {
namespace {

/// A bucket with several holders; holder k owns piece k of it.
struct Shared {
  at::Tensor flat;
  std::span<const int> holders;
  at::Tensor mine;  // this rank's piece

  at::Tensor piece(size_t holder) const { return piece_of(flat, std::ssize(holders), static_cast<int64_t>(holder)); }
};

/// What comes from one rank, taken in the order in which it was packed there.
class Parcel {
 public:
  explicit Parcel(at::Tensor content) : content_(std::move(content)) {}

  at::Tensor take(int64_t count) {
    offset_ += count;
    return content_.narrow(0, offset_ - count, count);
  }

 private:
  at::Tensor content_;
  int64_t offset_ = 0;
};

/// Pieces for each rank of the VP group, and how many elements each rank sends in return.
struct Shipment {
  explicit Shipment(int ranks) : outgoing(ranks), incoming(ranks) {}

  std::vector<Parcel> exchange(Communicator& group, const at::TensorOptions& options) const {
    std::vector<at::Tensor> all{at::empty({0}, options)};
    std::vector<int64_t> counts;
    int64_t packed = 0;
    for (const auto& pieces : outgoing) {
      all.insert(all.end(), pieces.begin(), pieces.end());
      int64_t count = 0;
      for (const at::Tensor& piece : pieces) {
        count += piece.numel();
      }
      counts.push_back(count);
      packed += count;
    }
    const at::Tensor send = at::cat(all);
    at::Tensor receive = at::empty({std::accumulate(incoming.begin(), incoming.end(), int64_t{0})}, options);
    group.all_to_all(send, counts, receive, incoming);
    std::vector<Parcel> parcels;
    for (at::Tensor& part : receive.split_with_sizes(incoming)) {
      parcels.emplace_back(std::move(part));
    }
    return parcels;
  }

  std::vector<std::vector<at::Tensor>> outgoing;
  std::vector<int64_t> incoming;
};

/// The buckets with several holders, in their order.
std::vector<Shared> shared_buckets(std::span<const Bucket> buckets, const Mesh& mesh) {
  std::vector<Shared> shared;
  for (const Bucket& bucket : buckets) {
    const std::vector<int>& holders = bucket.holders;
    const auto me = std::lower_bound(holders.begin(), holders.end(), mesh.vp_rank);
    const bool ascending = std::adjacent_find(holders.begin(), holders.end(), std::greater_equal<>()) == holders.end();
    const bool held = ascending && me != holders.end() && *me == mesh.vp_rank && holders.front() >= 0 &&
                      holders.back() < mesh.vp_size;
    if (!held || bucket.flat.scalar_type() != buckets.front().flat.scalar_type()) {
      throw CommunicationError(
          fmt::format("rank {}: gradient bucket of {} elements: its holders are not ascending vertex-parallel ranks "
                      "with {} among them, or its dtype is not that of the first bucket.",
                      mesh.world->rank(), bucket.flat.numel(), mesh.vp_rank));
    }
    if (holders.size() > 1) {
      shared.push_back({bucket.flat, holders, piece_of(bucket.flat, std::ssize(holders), me - holders.begin())});
    }
  }
  return shared;
}

/// Every rank gets all copies of the pieces that it owns, and adds them.
void reduce_own_pieces(std::span<const Shared> shared, Mesh& mesh, const at::TensorOptions& options) {
  Shipment shipment(mesh.vp_size);
  for (const Shared& bucket : shared) {
    for (size_t k = 0; k < bucket.holders.size(); ++k) {
      shipment.outgoing[bucket.holders[k]].push_back(bucket.piece(k));
      shipment.incoming[bucket.holders[k]] += bucket.mine.numel();
    }
  }
  std::vector<Parcel> parcels = shipment.exchange(*mesh.vertex, options);
  for (const Shared& bucket : shared) {
    std::vector<at::Tensor> terms;
    for (const int holder : bucket.holders) {
      terms.push_back(parcels[holder].take(bucket.mine.numel()));
    }
    reduce_in_order(terms, Reduction::sum, bucket.mine);
  }
}

/// Every rank gives the pieces that it owns to the other holders.
void gather_pieces(std::span<const Shared> shared, Mesh& mesh, const at::TensorOptions& options) {
  Shipment shipment(mesh.vp_size);
  const auto each_other_holder = [&](auto&& visit) {
    for (const Shared& bucket : shared) {
      for (size_t k = 0; k < bucket.holders.size(); ++k) {
        if (bucket.holders[k] != mesh.vp_rank) {
          visit(bucket, bucket.holders[k], bucket.piece(k));
        }
      }
    }
  };
  each_other_holder([&](const Shared& bucket, int holder, const at::Tensor& piece) {
    shipment.outgoing[holder].push_back(bucket.mine);
    shipment.incoming[holder] += piece.numel();
  });
  std::vector<Parcel> parcels = shipment.exchange(*mesh.vertex, options);
  each_other_holder(
      [&](const Shared&, int holder, const at::Tensor& piece) { piece.copy_(parcels[holder].take(piece.numel())); });
}

}  // namespace

void sum_over_replicas(std::span<Bucket> buckets, Mesh& mesh) {
  const at::NoGradGuard no_grad;
  const std::vector<Shared> shared = shared_buckets(buckets, mesh);
  for (Bucket& bucket : buckets) {
    mesh.data->all_reduce(bucket.flat);
  }
  if (mesh.vp_size == 1) {
    return;
  }
  // A rank without buckets sends and receives nothing, but takes part.
  const at::TensorOptions options = buckets.empty() ? at::TensorOptions(at::kFloat) : buckets.front().flat.options();
  reduce_own_pieces(shared, mesh, options);
  gather_pieces(shared, mesh, options);
}

}  // namespace lmnet
