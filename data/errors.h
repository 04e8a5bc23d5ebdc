#pragma once
#include <stdexcept>

namespace lmnet {

/// A data file or record is missing or broken. One sentence that names file and record. The process ends with code 3.
class DataError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A record is not written as the format that it is read by says.
class MisfitRecord : public DataError {
 public:
  using DataError::DataError;
};

/// A record cannot be used; those behind it can. RecordReader adds file and record.
class BadRecord : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Nothing more can be read from a file. RecordReader adds file and record.
class BrokenFile : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace lmnet
