#pragma once
#include <filesystem>

namespace lmnet {

/// A folder that is there whole or not at all: it is filled under a temporary name beside its own.
class NewFolder {
 public:
  /// Throws ConfigError where something but an empty folder has the name already, CheckpointError when it cannot be
  /// made.
  explicit NewFolder(std::filesystem::path path);
  ~NewFolder();
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

  const std::filesystem::path& temporary() const { return temporary_; }
  /// Gives the folder `filled`, temporary() or one in it, the name, when all of it is on the disk. Throws
  /// CheckpointError where somebody has put something there in the meantime.
  void publish(const std::filesystem::path& filled);

 private:
  std::filesystem::path path_, temporary_;
};

}  // namespace lmnet
