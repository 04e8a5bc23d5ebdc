#include "parallel/reduction.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "parallel/errors.h"
#include "parallel/pieces.h"

namespace lmnet {
namespace {

Shard piece_of_shard(Shard whole, const Communicator& group) {
  return {whole.begin + piece_begin(whole.size(), group.size(), group.rank()),
          whole.begin + piece_begin(whole.size(), group.size(), group.rank() + 1)};
}

void check_holders(const std::vector<int>& holders, const Mesh& mesh) {
  const bool ascending = std::adjacent_find(holders.begin(), holders.end(), std::greater_equal<>()) == holders.end();
  const bool held = std::find(holders.begin(), holders.end(), mesh.vp_rank) != holders.end();
  if (ascending && held && holders.front() >= 0 && holders.back() < mesh.vp_size) return;
  throw CommunicationError(
      fmt::format("rank {}: a replica group of holders {}: they are not ascending vertex-parallel "
                  "ranks with {} among them.",
                  mesh.world->rank(), fmt::join(holders, ", "), mesh.vp_rank));
}

}  // namespace

ReplicaGroup::ReplicaGroup(Mesh& mesh, const std::vector<int>& holders, bool sharded)
    : data_(mesh.dp_size > 1 ? mesh.data.get() : nullptr), sharded_(sharded) {
  check_holders(holders, mesh);
  counts_ = sharded || (mesh.dp_rank == 0 && holders.front() == mesh.vp_rank);
  if (holders.size() > 1) holders_ = mesh.replica->subgroup(holders);
}

Shard ReplicaGroup::shard(int64_t count) const {
  return sharded_ ? share(count) : Shard{0, count};
}

Shard ReplicaGroup::share(int64_t count) const {
  Shard shard{0, count};
  if (data_ != nullptr) shard = piece_of_shard(shard, *data_);
  if (holders_) shard = piece_of_shard(shard, *holders_);
  return shard;
}

Work ReplicaGroup::start_reduce(at::Tensor flat) {
  Work last;
  if (!sharded_) {
    if (data_ != nullptr) last = data_->start_all_reduce(flat);
    if (holders_) last = holders_->start_all_reduce(flat);
    return last;
  }
  if (data_ != nullptr) last = data_->start_reduce_scatter(flat);
  const at::Tensor mine = data_ != nullptr ? piece_of(flat, data_->size(), data_->rank()) : flat;
  if (holders_) last = holders_->start_reduce_scatter(mine);
  return last;
}

Work ReplicaGroup::start_gather(at::Tensor flat) {
  Work last;
  if (!sharded_) return last;
  const at::Tensor mine = data_ != nullptr ? piece_of(flat, data_->size(), data_->rank()) : flat;
  if (holders_) last = holders_->start_all_gather(mine);
  if (data_ != nullptr) last = data_->start_all_gather(flat);
  return last;
}

}  // namespace lmnet
