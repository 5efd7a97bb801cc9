// The pictures to predict: a label file's lines, and the files they name.
#pragma once

#include <string>
#include <vector>

#include "image.hpp"

namespace sample {

struct Picture {
    std::string name;  // inside the image folder
    int label;
};

// The lines `name label` of a label file (as ILSVRC2012_val.txt), the first `count` of them; 0: all.  The last word is
// the label: names may hold spaces.  Throws Error.
std::vector<Picture> listed(const std::string& label_file, int count);

// One class a line: a name, or a WordNet id and a name.  Throws Error.
std::vector<std::string> class_names(const std::string& name_file);

// The picture in a file, upright, by OpenCV.  Throws Error for a file that cannot be read.
Image decoded(const std::string& folder, const Picture& picture);

}  // namespace sample
