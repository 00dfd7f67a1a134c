// What a page of Parley does beyond what its HTML does: each behaviour is an element.

import "./elements/answer-rating.js";
import "./elements/answer-text.js";
import "./elements/conversation-menu.js";
import "./elements/conversation-news.js";
import "./elements/copy-answer.js";
import "./elements/earlier-messages.js";
import "./elements/edit-question.js";
import "./elements/first-question.js";
import "./elements/follow-end.js";
import "./elements/keyboard-map.js";
import "./elements/local-time.js";
import "./elements/message-actions.js";
import "./elements/message-composer.js";
import "./elements/message-menu.js";
import "./elements/model-picker.js";
import "./elements/picture-viewer.js";
import "./elements/prompt-suggestions.js";
import "./elements/search-box.js";
import "./elements/side-bar.js";
import "./elements/streaming-answer.js";
import "./elements/theme-switch.js";
import "./elements/undo-notice.js";
import "./elements/waiting-line.js";
