// The elements of the pages of the admin that show answers while they are being written.

import "../elements/answer-news.js";
import "../elements/answer-text.js";
import "../elements/streaming-answer.js";
import "../elements/waiting-line.js";
import "./fresh-part.js";
import "./verdict-form.js";
